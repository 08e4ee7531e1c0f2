"""Hierarchies of classes, and the part of WordNet 3.0 that ships with the package."""
