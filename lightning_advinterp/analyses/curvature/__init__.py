"""How strongly the class score bends."""
