"""From counts of overlaps to ratios of units: what the tables of a dissection have in common."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from lightning_advinterp.metrics.concepts import Convention, UnitConcepts, best_concepts, count_detectors
from lightning_advinterp.metrics.dissection import ConceptCounts

ALL = "all"
"""Stands for all categories, or all layers, in a table."""


class Ratios(NamedTuple):
    """Units that detect concepts of each category, and of any: lists of C + 1.

    Attributes:
        detectors: how many.
        ratio: their share of all units.
        unique: different labels among them; the last entry is the sum of the others.
    """

    detectors: list[int]
    ratio: list[float]
    unique: list[int]


def concepts_of(counts: ConceptCounts, weights: Tensor | None = None) -> UnitConcepts:
    """Return the best label of every unit in each category.

    Args:
        counts: of one layer, in G groups.
        weights: int64 ``[G]``, how often each group counts; once if left out.
    """
    words = counts.vocabulary
    iou = counts.iou(weights).cpu().numpy()
    return best_concepts(iou, np.array(words.numbers), words.category, len(words.categories))


def joined(parts: Sequence[UnitConcepts]) -> UnitConcepts:
    """Return the units of several layers, one after the other."""
    return UnitConcepts(
        np.concatenate([layer.label for layer in parts]), np.concatenate([layer.iou for layer in parts])
    )


def detector_ratios(concepts: UnitConcepts, threshold: float, convention: Convention = "best") -> Ratios:
    """Return numbers and shares of detectors, by the conventions of :func:`count_detectors`."""
    counted = count_detectors(concepts, threshold, convention)
    detectors = [*counted.units.tolist(), counted.any]
    ratio = [count / len(concepts.iou) for count in detectors]
    return Ratios(detectors, ratio, [*counted.unique.tolist(), int(counted.unique.sum())])
