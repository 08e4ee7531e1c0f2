"""How far counts of detectors depend on the images: the bootstrap over groups of images."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_advinterp.metrics.dissection import ConceptCounts

_CHUNK = 1 << 20  # numbers at a time
_UNITS = 256  # units at a time
_SLACK = 1 - 1e-9  # a product is rounded, a pair at the threshold itself is to be among the possible


def group_weights(groups: int, replicates: int, seed: int) -> NDArray[np.int64]:
    """Return how often every group is drawn, int64 ``[R, G]``: G draws with replacement in each replicate."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=replicates)


def resampled_detectors(counts: ConceptCounts, weights: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Count detectors of every category, and of any, in resampled sets of images.

    Images are counted in random groups, and whole groups are drawn, so memory stays bounded; with G groups the width of
    an interval is itself uncertain by a share of about 1/√(2(G − 1)). Units keep the thresholds of the whole set.

    Args:
        counts: of one layer, in G groups.
        weights: int64 ``[R, G]``.
        threshold: IoU from which a unit is a detector, in the category of its best label.

    Returns:
        int64 ``[R, C + 1]``.
    """
    categories = len(counts.vocabulary.categories)
    draws = torch.from_numpy(weights).double()
    detectors = np.zeros((len(weights), categories + 1), dtype=np.int64)
    for start in range(0, counts.area.shape[1], _UNITS):
        part = slice(start, start + _UNITS)
        pairs = _possible_pairs(counts, part, threshold)
        step = max(1, _CHUNK // max(1, len(pairs.unit)))
        for first in range(0, len(weights), step):
            _count_hits(pairs, draws[first : first + step], threshold, detectors[first : first + step])
    return detectors


class _Pairs(NamedTuple):
    """Pairs of a unit and a label that may reach the threshold, by unit and category.

    Attributes:
        unit: int64 ``[N]``.
        category: int64 ``[N]``, the label's.
        inside: float64 ``[G, N]``.
        union: float64 ``[G, N]``.
    """

    unit: Tensor
    category: Tensor
    inside: Tensor
    union: Tensor


def _possible_pairs(counts: ConceptCounts, part: slice, threshold: float) -> _Pairs:
    """Return the pairs with an IoU from the threshold up in some group, of the units of a slice.

    A ratio of sums is at most the largest ratio of its terms, so no draw of groups lifts another pair there.
    """
    category = torch.from_numpy(counts.vocabulary.category)
    truth = counts.truth[:, :-1].cpu()
    labels = truth.sum(0).nonzero().squeeze(1)
    labels = labels[category[labels].argsort(stable=True)]
    category = category[labels]
    inside = counts.intersection[:, part].cpu()[:, :, labels].double()
    union = counts.area[:, part].cpu().double()[:, :, category] + truth[:, None, labels] - inside
    unit, label = (inside >= threshold * union.clamp(min=1) * _SLACK).any(0).nonzero(as_tuple=True)
    return _Pairs(unit, category[label], inside[:, unit, label], union[:, unit, label])


def _count_hits(pairs: _Pairs, draws: Tensor, threshold: float, detectors: NDArray[np.int64]) -> None:
    """Add the detectors among some units to ``detectors``, int64 ``[R, C + 1]``, in the draws ``[R, G]``."""
    if not len(pairs.unit):
        return
    iou = ((draws @ pairs.inside) / (draws @ pairs.union).clamp_(min=1)).numpy()
    units = int(pairs.unit[-1]) + 1
    categories = detectors.shape[1] - 1
    place = (pairs.unit * categories + pairs.category).numpy()
    first = np.flatnonzero(np.diff(place, prepend=-1))
    best = np.zeros((len(draws), units * categories))
    best[:, place[first]] = np.maximum.reduceat(iou, first, axis=1)
    best = best.reshape(len(draws), units, categories)
    hit = best.max(2) >= threshold
    of_category = best.argmax(2)  # the first of equal ones
    for number in range(categories):
        detectors[:, number] += (hit & (of_category == number)).sum(1)
    detectors[:, -1] += hit.sum(1)


def centred_interval(estimate: float, replicates: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Return the estimate with the replicates' spread about their own mean, cut to [0, 1].

    Counts of detectors are biased under resampling (drawing with replacement leaves fewer different images, and fewer
    images have more extreme overlaps), so that plain percentiles may leave out the estimate itself.
    """
    tail = 50 * (1 - level)
    low, high = np.percentile(replicates - replicates.mean(), (tail, 100 - tail))
    return max(0.0, estimate + float(low)), min(1.0, estimate + float(high))
