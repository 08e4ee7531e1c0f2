"""Counted bins of float32 values, per unit: sparse, sorted, and the same whatever the order of what was put in.

A float32's bits, read as an integer with its sign, grow with its value: its *key*. Dropping the key's last bits gives
bins of one relative width. A *code* joins unit and key in one int64, so that sorting codes sorts units first.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

UNIT = 1 << 33  # room for the keys of one unit
ZERO = 1 << 32  # where key 0 lies in that room
_BLOCK = 1 << 18  # bins worked on at once


class Bins(NamedTuple):
    """Sorted bins with at least one value each.

    Attributes:
        code: int64 ``[N]``, unit and bin, rising.
        count: int64 ``[N]``, values in the bin.
        low: float32 ``[N]``, the smallest of them.
        high: float32 ``[N]``, the largest of them.
    """

    code: Tensor
    count: Tensor  # type: ignore[assignment]  # a tuple has a method of that name
    low: Tensor
    high: Tensor

    @property
    def unit(self) -> Tensor:
        """int64 ``[N]``."""
        return self.code // UNIT

    def to(self, device: torch.device) -> "Bins":
        """Return the bins on a device."""
        return self if self.code.device == device else Bins(*(column.to(device) for column in self))

    def select(self, kept: Tensor) -> "Bins":
        """Return the bins where ``kept``, bool ``[N]``, is true."""
        places = kept.nonzero().squeeze(1)  # once for the four columns
        return self if len(places) == len(kept) else Bins(*(column[places] for column in self))


def empty_bins(device: torch.device | None = None) -> Bins:
    """Return no bins."""
    none = torch.zeros(0, dtype=torch.int64, device=device)
    return Bins(none, none.clone(), none.float(), none.float())


def zero_bins(count: Tensor) -> Bins:
    """Return the bins of exact zeros, of which there are ``count``, int64 ``[U]``."""
    unit = count.nonzero().squeeze(1)
    nothing = torch.zeros(len(unit), device=count.device)
    return Bins(unit * UNIT + ZERO, count[unit], nothing, nothing.clone())


def highest_bins(bins: Bins, most: int) -> Tensor:
    """Return which bins are among the highest ``most`` of their unit, bool ``[N]``."""
    if not len(bins.code):
        return torch.ones_like(bins.code, dtype=torch.bool)
    _, place, size = torch.unique_consecutive(bins.unit, return_inverse=True, return_counts=True)
    from_the_top: Tensor = size.cumsum(0)[place] - torch.arange(len(place), device=place.device)
    return from_the_top <= most


def value_codes(unit: Tensor | int, value: Tensor) -> Tensor:
    """Return the codes of single values, ``[N], [N] -> int64 [N]``; +0 and -0 are one value."""
    bits = value.view(torch.int32).long()
    magnitude = bits & 0x7FFFFFFF
    return unit * UNIT + ZERO + torch.where(bits < 0, -magnitude, magnitude)


def code_values(codes: Tensor) -> Tensor:
    """The inverse of :func:`value_codes`."""
    key = codes % UNIT - ZERO
    value = key.abs().int().view(torch.float32)
    return torch.where(key < 0, -value, value)


def bin_codes(codes: Tensor, shift: int) -> Tensor:
    """Round keys away from 0 to multiples of 2^shift, so that exact zeros have a bin of their own."""
    key = codes % UNIT - ZERO
    rounded = (key.abs() + ((1 << shift) - 1)) >> shift << shift
    return codes - key + torch.where(key < 0, -rounded, rounded)


def lower_edge(codes: Tensor, shift: int) -> Tensor:
    """Return, for bins, the float32 that all their values exceed and all lower values do not."""
    key = codes % UNIT - ZERO
    edge = torch.where(key > 0, key - (1 << shift), key - 1)
    return code_values(codes - key + edge)


def fill_bins(codes: Tensor, shift: int) -> Bins:
    """Count values, given by their codes in any order, into bins of 2^shift neighbouring floats."""
    codes = _sort(codes)
    values, count = torch.unique_consecutive(bin_codes(codes, shift), return_counts=True)
    last = count.cumsum(0) - 1
    return Bins(values, count, code_values(codes[last - count + 1]), code_values(codes[last]))


def unit_blocks(units: int, *several: Bins) -> Iterator[tuple[Bins, ...]]:
    """Cut several bins of the same units into blocks of whole units, so that work on them takes little memory."""
    count = max(1, sum(len(bins.code) for bins in several) // _BLOCK)
    step = max(1, units // count)
    cuts = []
    for bins in several:
        edges = torch.arange(step, units, step, device=bins.code.device) * UNIT
        cuts.append([0, *torch.searchsorted(bins.code, edges).tolist(), len(bins.code)])
    for block in range(len(cuts[0]) - 1):
        yield tuple(
            Bins(*(column[cut[block] : cut[block + 1]] for column in bins))
            for bins, cut in zip(several, cuts, strict=True)
        )


def join_bins(first: Bins, second: Bins) -> Bins:
    """Return the bins of both together."""
    if not len(first.code) or not len(second.code):
        return first if len(first.code) else second
    return merge_bins(Bins(*(torch.cat(columns) for columns in zip(first, second, strict=True))))


def merge_bins(bins: Bins) -> Bins:
    """Return bins in order, each once, from bins in any order of which some are the same."""
    code, order = bins.code.sort()
    count, low, high = (column[order] for column in bins[1:])
    values, place = torch.unique_consecutive(code, return_inverse=True)
    size = len(values)
    return Bins(
        values,
        count.new_zeros(size).index_add_(0, place, count),
        low.new_empty(size).scatter_reduce_(0, place, low, "amin", include_self=False),
        high.new_empty(size).scatter_reduce_(0, place, high, "amax", include_self=False),
    )


def counts_above(bins: Bins) -> Tensor:
    """Return how many values of the same unit lie in higher bins, int64 ``[N]``."""
    if not len(bins.code):
        return bins.count
    total = bins.count.flip(0).cumsum(0).flip(0)  # from this bin to the very end
    _, place, size = torch.unique_consecutive(bins.unit, return_inverse=True, return_counts=True)
    ends = size.cumsum(0)
    beyond = torch.cat([total, total.new_zeros(1)])[ends]  # what belongs to later units
    return total - bins.count - beyond[place]


def value_at(bins: Bins, above: Tensor, rank: Tensor) -> Tensor:
    """Read one value of every unit by its rank from the top, 0 for the largest.

    Values inside a bin are taken to lie evenly between its smallest and its largest, which are exact; so is
    everything in a bin of one value or two.

    Args:
        bins: of U units.
        above: of :func:`counts_above`, plus what was never put in.
        rank: int64 ``[U]``.

    Returns:
        float64 ``[U]``; minus infinity where a unit has no value of that rank.
    """
    unit = bins.unit
    place = ((above <= rank[unit]) & (rank[unit] < above + bins.count)).nonzero().squeeze(1)
    unit, count = unit[place], bins.count[place]
    low, high = bins.low[place].double(), bins.high[place].double()
    share = (rank[unit] - above[place]).double() / (count - 1).clamp(min=1)
    value = high - (high - low) * share
    value = torch.where(rank[unit] - above[place] == count - 1, torch.where(count > 1, low, high), value)
    values = torch.full((len(rank),), -torch.inf, dtype=torch.float64, device=rank.device)
    return values.index_copy_(0, unit, value)


def _sort(codes: Tensor) -> Tensor:
    """Sort; numpy is several times as fast as torch on a CPU, where both give the same."""
    if codes.device.type == "cpu":
        return torch.from_numpy(np.sort(codes.numpy()))
    return codes.sort().values
