"""Network dissection written out from the paper (Bau et al. 2017, section 2) and the rules of the official codes."""

import numpy as np


def enlarge(plane, size):
    """Bilinear values at half-pixel centres, pixel by pixel, in the plane's own precision."""
    kind, (rows, columns) = plane.dtype.type, plane.shape

    def around(pixel, source, target):
        numerator = (2 * pixel + 1) * source - target  # of the place, over 2·target
        before = numerator // (2 * target)
        weight = kind(numerator - before * 2 * target) / kind(2 * target)
        return min(max(before, 0), source - 1), min(max(before + 1, 0), source - 1), weight

    out = np.zeros(size, plane.dtype)
    for i in range(size[0]):
        top, bottom, down = around(i, rows, size[0])
        for j in range(size[1]):
            left, right, across = around(j, columns, size[1])
            upper = plane[top, left] + across * (plane[top, right] - plane[top, left])
            lower = plane[bottom, left] + across * (plane[bottom, right] - plane[bottom, left])
            out[i, j] = upper + down * (lower - upper)
    return out


def shrink(plane, size):
    """Means with weights that fall linearly from each pixel's centre to the next one's (PIL's bilinear filter)."""

    def weights(pixel, source, target):
        width = max(source / target, 1)
        centre = (pixel + 0.5) * source / target
        weight = np.array([max(0, 1 - abs(place + 0.5 - centre) / width) for place in range(source)])
        return weight / weight.sum()

    rows, columns = plane.shape
    out = np.zeros(size, plane.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            out[i, j] = weights(i, rows, size[0]) @ plane @ weights(j, columns, size[1])
    return out


def resample(plane, size):
    """Enlarge a plane, or shrink it where it is larger along an axis."""
    shrinks = plane.shape[0] > size[0] or plane.shape[1] > size[1]
    return shrink(plane, size) if shrinks else enlarge(plane, size)


def top_quantile(values, quantile):
    """Hazen's quantile of one unit's values: the sorted values lie at (i + 1/2) / n."""
    ordered = sorted(values)
    n = len(ordered)
    position = min(max(quantile * n - type(quantile)(1) / 2, 0), n - 1)
    below = int(position // 1)
    share = float(position - below)
    low, high = ordered[below], ordered[min(below + 1, n - 1)]
    return low if low == high else low + (high - low) * share


def dissect(maps, thresholds, segmentations, categories_of, size, rule):
    """Count I, A and G image by image, unit by unit, label by label.

    Args:
        maps: per image ``[U, h, w]``.
        segmentations: per image (category to [L, H, W], category to whole-image labels).
        categories_of: label to its primary category.

    Returns:
        dicts (unit, label) to I, (unit, label) to A, label to G.
    """
    labels, units = sorted(categories_of), len(thresholds)
    intersection = {(u, c): 0 for u in range(units) for c in labels}
    area = {(u, c): 0 for u in range(units) for c in labels}
    truth = dict.fromkeys(labels, 0)
    for planes, (by_category, full_labels) in zip(maps, segmentations, strict=True):
        layers = [np.asarray(layer) for stack in by_category.values() for layer in stack]
        layers += [np.full(size, label) for numbers in full_labels.values() for label in numbers]
        in_image = {int(label) for layer in layers for label in np.unique(layer)} - {0}
        regions = {}
        for label in labels:
            copies = [layer == label for layer in layers]
            count = sum(copies) if copies else np.zeros(size, int)
            regions[label] = np.minimum(count, 1) if rule == "plain" else count
            truth[label] += int(regions[label].sum())
        present = {categories_of[label] for label in in_image}
        for unit in range(units):
            if planes[unit].max() <= thresholds[unit]:
                continue
            mask = resample(planes[unit], size) > thresholds[unit]
            touched = {categories_of[label] for label in labels if (regions[label] * mask).sum() > 0}
            for label in labels:
                intersection[unit, label] += int((regions[label] * mask).sum())
                category = categories_of[label]
                if rule == "plain" or category in (present if rule == "original" else touched):
                    area[unit, label] += int(mask.sum())
    return intersection, area, truth
