"""Which units an attack moves, and whether those are the ones that detect concepts."""
