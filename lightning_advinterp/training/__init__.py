"""Training: the Lightning module, its optimisation, its run folder, and how it goes on."""
