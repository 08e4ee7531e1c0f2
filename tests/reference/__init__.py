"""Slow, literal re-implementations that the fast code is held against."""
