"""The page of stored evaluations: one file that needs no network, and no other file."""
