"""Where upsampled feature maps exceed their thresholds, found without upsampling the rest of them.

A bilinear value lies between the four values around it. Where none of these exceeds the threshold, the value does not
either, so only the cells of the grid with such a corner are interpolated: a few per cent of them at a top 0.5 %.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.metrics.places import true_places


class Hits(NamedTuple):
    """The pixels at which units exceed their thresholds.

    Attributes:
        row: int64 ``[N]``, image times number of units plus unit.
        pixel: int64 ``[N]``, place in the label map, row by row.
    """

    row: Tensor
    pixel: Tensor


class Axis(NamedTuple):
    """How one axis of a map is enlarged: cells between neighbouring values, and the pixels that lie in each.

    Attributes:
        low: int64 ``[C]``, the value at a cell's lower end.
        high: int64 ``[C]``, the value at its upper end; the same at the borders.
        weight: float ``[C, S]``, how far each of its pixels lies from the lower to the upper end, in [0, 1); NaN where
            a cell has fewer than S pixels, so that what is interpolated there exceeds nothing.
        first: int64 ``[C]``, the number of its first pixel; the others follow it.
    """

    low: Tensor
    high: Tensor
    weight: Tensor
    first: Tensor


def enlarged_axis(size: int, target: int, *, device: torch.device, dtype: torch.dtype) -> Axis:
    """Lay ``target`` pixels over ``size`` values, both with their centres at half (``align_corners=False``).

    Pixel p lies at ((2p + 1)·size − target) / (2·target) in units of values; beyond the outermost ones it takes theirs.
    Integer arithmetic keeps its cell and weight exact.
    """
    if size == target:
        each = torch.arange(size, device=device)
        return Axis(each, each, torch.zeros(size, 1, device=device, dtype=dtype), each)
    pixel = torch.arange(target, device=device)
    place = (2 * pixel + 1) * size - target
    cell = place.div(2 * target, rounding_mode="floor") + 1
    weight = place.remainder(2 * target).to(dtype) / (2 * target)
    count = torch.bincount(cell, minlength=size + 1)
    first = count.cumsum(0) - count
    slot = pixel - first[cell]
    shape = (size + 1, int(count.max()))
    ends = torch.arange(-1, size + 1, device=device).clamp(0, size - 1)
    weights = torch.full(shape, torch.nan, device=device, dtype=dtype).index_put_((cell, slot), weight)
    return Axis(ends[:-1], ends[1:], weights, first)


def exceeding_pixels(maps: Tensor, thresholds: Tensor, size: tuple[int, int], most: int | None = None) -> Hits | None:
    """Return the pixels at which upsampled maps are larger than their unit's threshold.

    Bilinear with half-pixel centres, interpolated as a + w·(b − a), along rows and then along columns: equal values
    give themselves exactly. Where a map is larger than ``size``, it is shrunk with antialiasing, as PIL does, after its
    threshold is taken off: zeros give zero exactly. So in both cases a plateau at the threshold does not exceed it.

    Args:
        maps: float ``[B, U, H, W]``.
        thresholds: ``[U]``.
        size: height and width of the label maps.
        most: interpolate at most so many values at once.

    Returns:
        The pixels, by row; None if several images need more than ``most`` values: show fewer at a time.
    """
    images, units, height, width = maps.shape
    if maps.dtype.itemsize < 4:  # in bfloat16 a threshold between two values would be rounded to one
        maps = maps.float()
    if height > size[0] or width > size[1]:
        return _shrunk(maps, thresholds, size, most)
    thresholds = thresholds.to(maps.dtype)
    y = enlarged_axis(height, size[0], device=maps.device, dtype=maps.dtype)
    x = enlarged_axis(width, size[1], device=maps.device, dtype=maps.dtype)
    # Few values exceed, so their cells are marked one by one and not by shifting whole maps.
    place = true_places((maps > thresholds[:, None, None]).flatten())
    column, line = place % width, place.div(width, rounding_mode="floor")
    line += line.div(height, rounding_mode="floor") * (len(y.low) - height)  # its line among those of all cells
    marked = torch.zeros(images * units * len(y.low) * len(x.low), dtype=torch.bool, device=maps.device)
    corner = line * len(x.low) + column
    for lower in range(len(y.low) - height + 1):
        for further in range(len(x.low) - width + 1):
            marked[corner + (lower * len(x.low) + further)] = True
    cell = true_places(marked)
    if most is not None and images > 1 and len(cell) * y.weight.shape[1] * x.weight.shape[1] > most:
        return None
    row = cell.div(len(y.low) * len(x.low), rounding_mode="floor")
    cell -= row * (len(y.low) * len(x.low))  # its place in the grid of cells, in which what follows is looked up
    flat, start = maps.flatten(), row * (height * width)
    along = x.weight.repeat(len(y.low), 1)[cell]
    edges = []
    for edge in (y.low, y.high):
        low, high = (flat[start + (edge[:, None] * width + end).flatten()[cell], None] for end in (x.low, x.high))
        edges.append(_between(low, high, along)[:, None])
    down = y.weight.repeat_interleave(len(x.low), dim=0)[cell]
    values = _between(edges[0], edges[1], down[:, :, None])  # [cells, pixels down, pixels across]
    hit = true_places((values > thresholds[row % units][:, None, None]).flatten())
    # Pixels are numbered where they exceed: most do not.
    each = values.shape[1] * values.shape[2]
    which = hit.div(each, rounding_mode="floor")
    first = (y.first[:, None] * size[1] + x.first).flatten()[cell]
    lines, columns = (torch.arange(count, device=maps.device) for count in values.shape[1:])
    from_first = (lines[:, None] * size[1] + columns).flatten()
    return Hits(row[which], first[which] + from_first[hit - which * each])


def _between(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    return low + weight * (high - low)


def _shrunk(maps: Tensor, thresholds: Tensor, size: tuple[int, int], most: int | None) -> Hits | None:
    """The same for maps larger than the label maps, of which only those that exceed somewhere are resampled."""
    units, thresholds = maps.shape[1], thresholds.to(maps.dtype)
    row = (maps.amax((2, 3)) > thresholds).flatten().nonzero().squeeze(1)
    if most is not None and len(maps) > 1 and len(row) * size[0] * size[1] > most:
        return None
    above = maps.flatten(0, 1)[row][:, None].sub_(thresholds[row % units][:, None, None, None])  # of a copy
    exceeds = F.interpolate(above, size=size, mode="bilinear", align_corners=False, antialias=True).flatten(1) > 0
    which, pixel = exceeds.nonzero(as_tuple=True)
    return Hits(row[which], pixel)
