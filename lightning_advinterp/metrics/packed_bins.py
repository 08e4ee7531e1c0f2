"""Bins in little memory: as they are kept between updates, and wide ones that are counted without sorting."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_advinterp.metrics.bins import UNIT, ZERO, Bins, bin_codes, code_values, value_codes

_SLOTS = 1 << 22  # the largest table to count in
_LARGEST = torch.finfo(torch.float32).max


class PackedBins(NamedTuple):
    """Bins of one width as they are kept between updates: 12 bytes each (16 where a count needs more than 31 bits).

    Attributes:
        key: int32 ``[N]``, the key without its last bits.
        count: int32 or int64 ``[N]``.
        low: int16 ``[N]``, how far the smallest value lies from the bin's outer edge.
        high: int16 ``[N]``, how far the largest does.
        size: int64 ``[U]``, bins of each unit.
    """

    key: Tensor
    count: Tensor  # type: ignore[assignment]  # a tuple has a method of that name
    low: Tensor
    high: Tensor
    size: Tensor

    def to(self, device: torch.device) -> "PackedBins":
        """Return the bins on a device."""
        return self if self.key.device == device else PackedBins(*(column.to(device) for column in self))


def pack_bins(bins: Bins, units: int, shift: int) -> PackedBins:
    """Return bins of 2^shift floats, at most 2¹⁵, in half their memory."""
    key = bins.code % UNIT - ZERO
    offsets = [(key - (value_codes(0, value) - ZERO)).abs().to(torch.int16) for value in (bins.low, bins.high)]
    small = not len(bins.count) or int(bins.count.max()) < 1 << 31
    count = bins.count.to(torch.int32) if small else bins.count
    size = torch.bincount(bins.unit, minlength=units)
    return PackedBins((key >> shift).to(torch.int32), count, offsets[0], offsets[1], size)


def unpack_bins(packed: PackedBins, shift: int) -> Bins:
    """The inverse of :func:`pack_bins`."""
    unit = torch.repeat_interleave(torch.arange(len(packed.size), device=packed.key.device), packed.size)
    key = packed.key.long() << shift
    inwards = -key.sign()  # bins are named by their edge away from 0
    code = unit * UNIT + ZERO
    low, high = (code_values(code + key + inwards * offset.long()) for offset in (packed.low, packed.high))
    return Bins(code + key, packed.count.long(), low, high)


def coarsen_bins(bins: Bins, shift: int) -> Bins:
    """Return wider bins of 2^shift floats, in order, which know no more of their values than their edges.

    What they hold then depends on their counts alone, and not on which of their values were seen first.
    """
    code, place = torch.unique_consecutive(bin_codes(bins.code, shift), return_inverse=True)
    count = bins.count.new_zeros(len(code)).index_add_(0, place, bins.count)
    return coarse_bins(code, count, shift)


def coarse_bins(code: Tensor, count: Tensor, shift: int) -> Bins:
    """Return bins with their edges as their smallest and largest values; that of zeros holds nothing else."""
    key = code % UNIT - ZERO
    most = (1 << shift) - 1
    inner = code_values(code - key + torch.where(key == 0, key, key - key.sign() * most))
    outer = code_values(code).clamp(-_LARGEST, _LARGEST)  # the edge of the largest numbers' bin is infinite
    return Bins(code, count, torch.where(key < 0, outer, inner), torch.where(key < 0, inner, outer))


def count_coarsely(maps: Tensor, wanted: Tensor, shift: int) -> Bins:
    """Count values into coarse bins without sorting them, for there are many.

    Args:
        maps: float32 ``[B, U, P]``.
        wanted: bool ``[B, U, P]``, which of them.
        shift: bins of 2^shift floats.
    """
    units = maps.shape[1]
    images, unit, place = wanted.nonzero(as_tuple=True)
    key = bin_codes(value_codes(torch.zeros_like(unit), maps[images, unit, place]), shift) % UNIT - ZERO >> shift
    first = int(key.min()) if len(key) else 0
    span = int(key.max()) - first + 1 if len(key) else 1
    slot = unit * span + (key - first)
    if units * span <= _SLOTS:
        table = torch.bincount(slot, minlength=units * span)
        slot = table.nonzero().squeeze(1)
        count = table[slot]
    else:
        slot, count = torch.unique(slot, return_counts=True)
    code = slot.div(span, rounding_mode="floor") * UNIT + ZERO + ((slot % span + first) << shift)
    return coarse_bins(code, count, shift)
