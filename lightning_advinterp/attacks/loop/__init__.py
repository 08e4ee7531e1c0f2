"""The loop of all attacks: an objective, a step, a threat model."""
