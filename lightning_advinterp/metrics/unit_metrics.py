"""Dissection's two sweeps as torchmetrics, for loops of one's own: they reset, move, merge and sync like any other.

The analysis counts with :class:`~lightning_advinterp.metrics.quantile.TopQuantile` and
:class:`~lightning_advinterp.metrics.dissection.ConceptCounts`, and so do these; the numbers are the same.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_advinterp.metrics.bins import Bins, empty_bins, merge_bins
from lightning_advinterp.metrics.dissection import ConceptCounts
from lightning_advinterp.metrics.label_maps import Rule, Vocabulary, batch_labels, image_labels
from lightning_advinterp.metrics.quantile import TopQuantile

Labels = tuple[Mapping[int, NDArray[np.int32]], Mapping[int, Sequence[int]]]
"""Category to maps ``[L, H, W]``, and category to labels of the whole image."""


_COLUMNS = tuple(f"{kind}_{column}" for kind in ("bin", "rest") for column in Bins._fields)


class UnitThresholds(Metric):
    """The q-quantile of every unit over all images and positions: the thresholds of a dissection.

    Args:
        quantile: q, such as 0.995, or ``official`` (994/999).
        images: at most so many images come, over all processes; None if unknown: that takes more memory.
        **options: of :class:`torchmetrics.Metric`.
    """

    is_differentiable, higher_is_better, full_state_update = False, None, False
    units: Tensor
    positions: Tensor
    values: Tensor

    def __init__(self, quantile: float | str | Fraction = 0.995, images: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.quantile, self.images = TopQuantile(quantile, images).quantile, images
        for column in _COLUMNS:
            self.add_state(column, [], dist_reduce_fx="cat")
        self.add_state("units", torch.tensor(0), dist_reduce_fx="max")
        self.add_state("positions", torch.tensor(0), dist_reduce_fx="max")
        self.add_state("values", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, maps: Tensor) -> None:
        """Count the activations ``[B, U, H, W]`` of a batch."""
        counter = self._counter()
        counter.update(maps)
        fine, rest = counter.bins()
        for column, values in zip(_COLUMNS, (*fine, *rest), strict=True):
            setattr(self, column, [values.to(self.device)])
        for name, value in counter.sizes().items():
            setattr(self, name, torch.tensor(value, device=self.device))

    def compute(self) -> Tensor:
        """Return the thresholds, float32 ``[U]``."""
        return self._counter().compute()

    def _counter(self) -> TopQuantile:
        columns = [getattr(self, column) for column in _COLUMNS]
        width = len(Bins._fields)
        fine, rest = (
            merge_bins(Bins(*map(dim_zero_cat, some))) if len(some[0]) else empty_bins()
            for some in (columns[:width], columns[width:])
        )
        counter = TopQuantile(self.quantile, self.images)
        counter.restore(fine, rest, int(self.units), int(self.positions), int(self.values))
        return counter


class ConceptIoU(Metric):
    """The intersection over union of every unit of a layer and every label.

    Args:
        thresholds: float32 ``[U]``, above which a unit is active.
        vocabulary: the labels; the columns of the result.
        size: height and width of the label maps.
        rule: what the union counts, see :mod:`lightning_advinterp.metrics.dissection`.
        **options: of :class:`torchmetrics.Metric`.
    """

    is_differentiable, higher_is_better, full_state_update = False, True, False
    thresholds: Tensor

    def __init__(
        self,
        thresholds: Tensor,
        vocabulary: Vocabulary,
        size: tuple[int, int],
        rule: Rule = "original",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.vocabulary, self.size, self.rule = vocabulary, size, rule
        self.register_buffer("thresholds", thresholds.clone(), persistent=False)
        zeros = ConceptCounts(len(thresholds), vocabulary, rule=rule).state_dict()
        self._names = tuple(zeros)
        for name, value in zeros.items():
            self.add_state(name, value, dist_reduce_fx="sum")

    def update(self, maps: Tensor, labels: Sequence[Labels]) -> None:
        """Count a batch.

        Args:
            maps: the layer's activations, ``[B, U, H, W]``.
            labels: of the same images.
        """
        read = [image_labels(*one, self.vocabulary, self.size, self.rule) for one in labels]
        group = torch.zeros(len(maps), dtype=torch.int64, device=maps.device)
        counts = self.counts()
        counts.update(maps, self.thresholds, batch_labels(read, self.vocabulary, maps.device), self.size, group)
        for name in self._names:
            setattr(self, name, getattr(counts, name))

    def counts(self) -> ConceptCounts:
        """Return the counts so far, from which units' concepts and detectors are read."""
        counts = ConceptCounts(len(self.thresholds), self.vocabulary, rule=self.rule, device=self.device)
        counts.load_state_dict({name: getattr(self, name) for name in self._names})
        return counts

    def compute(self) -> Tensor:
        """Return the overlaps, float64 ``[U, L]``."""
        return self.counts().iou()
