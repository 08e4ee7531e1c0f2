"""Explanations: one map per image, differentiable when asked."""
