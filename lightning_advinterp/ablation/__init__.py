"""Ablations: arms that differ in one thing, trained from several seeds, tested on the same images, in one table."""
