"""The highest values of every unit in narrow bins, what lies below in wide ones, and nothing that is out of reach."""

import torch
from torch import Tensor

from lightning_advinterp.metrics.bins import Bins, counts_above, highest_bins, join_bins, lower_edge
from lightning_advinterp.metrics.packed_bins import PackedBins, coarse_bins, coarsen_bins, unpack_bins

SHIFT = 12
"""A bin joins 2¹² neighbouring floats: 20 bits of the value stay, a relative width of at most 2⁻¹¹."""
REST_SHIFT = 18
"""A bin below the finely counted ones joins 2¹⁸ floats, a relative width of at most 2⁻⁵."""


def keep_highest(fine: Bins, rest: Bins, most: int, cut: Tensor) -> tuple[Bins, Bins]:
    """Return the highest fine bins of every unit, and what lies below them in wide bins.

    Args:
        fine: bins of 2^SHIFT floats.
        rest: bins of 2^REST_SHIFT floats, all below.
        most: fine bins of a unit.
        cut: float32 ``[U]``, set, where a unit has so many, to what they exceed: what comes below need not be sorted.
    """
    highest = highest_bins(fine, most)
    rest = join_bins(rest, coarsen_bins(fine.select(~highest), REST_SHIFT))
    rest = coarse_bins(rest.code, rest.count, REST_SHIFT)
    fine = fine.select(highest)
    if len(fine.code):
        unit, size = torch.unique_consecutive(fine.unit, return_counts=True)
        lowest = fine.code[size.cumsum(0) - size]
        full = size == most
        cut[unit[full]] = lower_edge(lowest[full], SHIFT)
    return fine, rest


def prune(fine: Bins, rest: Bins, needed: int, bound: Tensor) -> tuple[Bins, Bins]:
    """Return the bins among which the ``needed`` highest values of every unit lie.

    Args:
        fine: of :func:`keep_highest`.
        rest: likewise.
        needed: how many of the highest values of a unit count.
        bound: float32 ``[U]``, set, where a unit has so many, to what values must exceed to count.
    """
    parts = []
    above = counts_above(fine), counts_above_rest(fine, rest, len(bound))
    for bins, beyond, shift in ((fine, above[0], SHIFT), (rest, above[1], REST_SHIFT)):
        # The lowest bin kept, where it completes the number needed, bounds what can still come in.
        ends = (beyond < needed) & (beyond + bins.count >= needed)
        zero = (bins.low == 0) & (bins.high == 0)
        edge = lower_edge(bins.code[ends], shift)
        bound[bins.unit[ends]] = torch.where(zero[ends], torch.zeros_like(edge), edge)
        # Beyond the number needed zeros tell nothing, and shall not be counted for ever; nor do wide bins.
        capped = torch.minimum(bins.count, (needed - beyond).clamp(min=0))
        count = torch.where(zero, capped, bins.count) if bins is fine else capped
        parts.append(bins._replace(count=count).select(beyond < needed))
    return parts[0], parts[1]


def counts_above_rest(fine: Bins, rest: Bins, units: int) -> Tensor:
    """Return how many values of the same unit lie above each wide bin."""
    total = fine.count.new_zeros(units).index_add_(0, fine.unit, fine.count)
    return counts_above(rest) + total[rest.unit]


def ranked(fine: Bins, rest: Bins, units: int) -> tuple[Bins, Tensor, Tensor]:
    """Return all bins, how many values of the unit lie above each, and which are wide (that of zeros is not)."""
    above = torch.cat([counts_above(fine), counts_above_rest(fine, rest, units)])
    wide = torch.zeros_like(above, dtype=torch.bool)
    wide[len(fine.code) :] = rest.low < rest.high
    return Bins(*(torch.cat(columns) for columns in zip(fine, rest, strict=True))), above, wide


def loaded_bins(columns: list[Tensor]) -> tuple[Bins, Bins]:
    """Return the fine and the wide bins of a quantile's state."""
    fine = unpack_bins(PackedBins(*columns[:5]), SHIFT)
    return fine, coarse_bins(columns[5], columns[6], REST_SHIFT)
