"""Metrics: numbers from mergeable sums and counts."""

from lightning_advinterp.metrics.accuracy import top_k_hits
from lightning_advinterp.metrics.heatmaps import compare_images, compare_inputs, compare_maps
from lightning_advinterp.metrics.intervals import wilson_interval

__all__ = ["compare_images", "compare_inputs", "compare_maps", "top_k_hits", "wilson_interval"]
