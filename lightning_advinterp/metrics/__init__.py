"""Metrics: numbers from mergeable sums and counts."""

from lightning_advinterp.metrics.accuracy import top_k_hits
from lightning_advinterp.metrics.intervals import wilson_interval

__all__ = ["top_k_hits", "wilson_interval"]
