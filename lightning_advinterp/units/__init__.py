"""Units: which a network has, where they are read, and which images drive them."""
