"""What every room stands on: errors in words, atomic files, random numbers per sample."""
