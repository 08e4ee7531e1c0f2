"""Attacks on predictions."""
