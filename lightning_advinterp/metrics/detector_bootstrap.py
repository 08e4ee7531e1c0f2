"""How far counts of detectors depend on the images: the bootstrap over groups of images."""

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_advinterp.metrics.dissection import ConceptCounts

_CHUNK = 1 << 22  # numbers at a time


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
    labels = counts.truth[:, :-1].sum(0).nonzero().squeeze(1).cpu()
    category = torch.from_numpy(counts.vocabulary.category)[labels]
    labels, category = labels[category.argsort()], category.sort().values
    draws = torch.from_numpy(weights).double()
    replicates = len(weights)
    categories = len(counts.vocabulary.categories)
    truth = draws @ counts.truth[:, labels].cpu().double()
    detectors = torch.zeros(replicates, categories + 1, dtype=torch.int64)
    if not len(labels):
        return detectors.numpy()
    step = max(1, _CHUNK // (replicates * len(labels)))
    for start in range(0, counts.area.shape[1], step):
        part = slice(start, start + step)
        intersection = counts.intersection[:, part].cpu()[:, :, labels].double()
        units = intersection.shape[1]
        inside = (draws @ intersection.flatten(1)).view(replicates, units, -1)
        area = (draws @ counts.area[:, part].cpu().double().flatten(1)).view(replicates, units, categories)
        iou = inside / (area[:, :, category] + truth[:, None] - inside).clamp(min=1)
        best = torch.zeros(replicates, units, categories, dtype=iou.dtype)
        for number in range(categories):
            if bool((category == number).any()):
                best[:, :, number] = iou[:, :, category == number].amax(2)
        score, place = best.max(2)
        hit = score >= threshold
        detectors.scatter_add_(1, place, hit.long())
        detectors[:, -1] += hit.sum(1)
    return detectors.numpy()


def centred_interval(estimate: float, replicates: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Return the estimate with the replicates' spread about their own mean, cut to [0, 1].

    Counts of detectors are biased under resampling (drawing with replacement leaves fewer different images, and fewer
    images have more extreme overlaps), so that plain percentiles may leave out the estimate itself.
    """
    tail = 50 * (1 - level)
    low, high = np.percentile(replicates - replicates.mean(), (tail, 100 - tail))
    return max(0.0, estimate + float(low)), min(1.0, estimate + float(high))
