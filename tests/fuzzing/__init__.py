"""The fuzz of every reader: pristine files, seeded mutations, workers that may hang or die, and counts."""
