"""Train robust, interpretable image classifiers, and measure whether they mean what they seem to mean."""

__version__ = "0.1.0"
