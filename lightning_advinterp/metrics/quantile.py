"""Top quantiles of every unit over a stream of feature maps, in bounded memory and whatever the order of the stream."""

import logging
import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.metrics.bins import (
    Bins,
    bin_codes,
    empty_bins,
    fill_bins,
    join_bins,
    lower_edge,
    unit_blocks,
    value_at,
    value_codes,
    zero_bins,
)
from lightning_advinterp.metrics.packed_bins import PackedBins, count_coarsely, pack_bins, unpack_bins
from lightning_advinterp.metrics.places import kth_largest, true_places
from lightning_advinterp.metrics.quantile_ranks import as_quantile, hazen_ranks
from lightning_advinterp.metrics.refined_quantile import RefinedQuantile
from lightning_advinterp.metrics.top_bins import REST_SHIFT, SHIFT, keep_highest, loaded_bins, prune, ranked

logger = logging.getLogger(__name__)

FINE, FINE_OF_LAYER = 1 << 12, 1 << 19
"""So many fine bins a unit has at 0.995, the highest ones: two factors of two, if every bin in between has a value. The
units of a narrow layer have more, so many together."""
_BUFFER = 1 << 18
_CHUNK = 1 << 20
_FIRST = 8  # times the values that can count are looked at at once in the beginning


class TopQuantile:
    """The q-quantile of every unit of a layer over all images and positions, from integer counts.

    Values are counted in bins of 20 bits of their float32, each with its exact smallest and largest value. What the
    quantile cannot reach is dropped: given the number of images to come, only the highest (1 − q) share of all
    values counts, and a bin with that many above it is out. Until so many values were seen, nothing can be dropped. So
    that memory is bounded from the first image on, only the highest 4,096 bins of a unit are kept (more in layers of
    fewer than 128 units, and in proportion at quantiles below 0.995), and what lies below is counted in bins 64 times
    as wide. What remains depends on the values alone, not on their order, batches or processes: states of parts,
    merged, equal the state of the whole.

    The relative error is at most 2⁻¹¹ (below the normal numbers, 1e-38, the absolute one at most 2⁻¹³⁷); there is none
    where a bin holds one or two different values, as for constant and dead units. It is larger, 2⁻⁵, where the quantile
    lies in a wide bin, as it may for a unit that fires rarely and then very differently: :meth:`unresolved` names these
    units, and :meth:`refined` counts them exactly in a second sweep.

    A bin takes 12 bytes, a wide one (of which a unit has some 300) 24: 57 kB a unit, or 6.3 MB a narrow layer.

    Args:
        quantile: q, such as 0.995, or ``official``.
        images: at most so many images come, over all processes; None if unknown: then every bin is kept.
    """

    def __init__(self, quantile: float | str | Fraction = 0.995, images: int | None = None) -> None:
        self.quantile, self.images = as_quantile(quantile), images
        self.values = 0
        self._seen = 0  # values per unit in this process, and at the last look at the buffer
        self._looked = 0
        self._units = 0
        self._positions = 0
        self._fine: PackedBins | None = None
        self._rest = empty_bins()
        self._buffer: list[Tensor] = []
        self._rest_buffer: list[Bins] = []
        self._zeros: Tensor | None = None
        self._bound: Tensor | None = None  # below it nothing counts, and below the cut coarsely
        self._cut: Tensor | None = None

    def update(self, maps: Tensor) -> None:
        """Count the activations of a batch.

        Args:
            maps: ``[B, U, H, W]``; counted as float32. Infinite values below zero and NaN count as the smallest.

        Raises:
            ValueError: if there are not as many units or positions as before.
        """
        images, units, height, width = maps.shape
        if self._units and (units, height * width) != (self._units, self._positions):
            raise ValueError(
                f"maps must have {self._units} units of {self._positions} positions as before, "
                f"got {units} of {height * width}; images of one size give maps of one size."
            )
        self._units, self._positions = units, height * width
        maps = maps.detach().float().flatten(2)
        self._move(maps.device)
        most = max(1, _CHUNK // (units * self._positions))
        start = self._first(maps)
        while start < images:
            rows = min(self._needed() or 0, 4 * (self._most() or 0))
            # As many as were seen already, so that a bound is soon known, and few values pass it.
            chunk = max(1, min(most, max(self._seen, rows // 4) // self._positions))
            self._count(maps[start : start + chunk])
            start += chunk

    def _first(self, maps: Tensor) -> int:
        """Count the first images, return how many, if they have values that cannot count: these are never sorted."""
        needed = self._needed()
        if self._seen or needed is None or len(maps) * self._positions < 2 * needed:
            return 0
        first = maps[: math.ceil(_FIRST * needed / self._positions)]
        if not bool(first.sum().isfinite()):
            return 0  # among values that are no numbers there is no order
        # Values below the bin in which the last one needed lies count no more, whatever comes.
        least = value_codes(0, kth_largest(first.transpose(0, 1).flatten(1), needed))
        self._bound = lower_edge(bin_codes(least, SHIFT), SHIFT)
        self._count(first)
        return len(first)

    def _move(self, device: torch.device) -> None:
        """Bring what was counted to a device: a loaded state lies in the main memory."""
        self._fine = None if self._fine is None else self._fine.to(device)
        self._rest = self._rest.to(device)
        if self._bound is not None and self._cut is not None:
            self._bound, self._cut = self._bound.to(device), self._cut.to(device)

    def _count(self, maps: Tensor) -> None:
        self._seen += len(maps) * self._positions
        self.values += len(maps) * self._positions
        passed = maps > (-torch.inf if self._bound is None else self._bound[:, None])
        # Most values are zeros or small: these are counted without being sorted.
        if self._bound is None or bool((self._bound < 0).any()):
            zero = passed & (maps == 0)
            self._zeros = zero.sum((0, 2)) + (0 if self._zeros is None else self._zeros)
            passed &= ~zero
        if self._cut is not None and (self._bound is None or bool((self._bound < self._cut).any())):
            coarse = passed & (maps <= self._cut[:, None])
            self._rest_buffer.append(count_coarsely(maps, coarse, REST_SHIFT))
            passed &= ~coarse
        place = true_places(passed.flatten())
        unit = place.div(self._positions, rounding_mode="floor").remainder_(self._units)
        self._buffer.append(value_codes(unit, maps.flatten()[place]))
        waiting = sum(map(len, self._buffer))
        waiting_bins = sum(len(bins.code) for bins in self._rest_buffer)
        count = 0 if self._fine is None else len(self._fine.key)
        most = min(max(_BUFFER, 2 * count), 2 * _CHUNK)
        if waiting > most or waiting_bins > _BUFFER or self._seen >= 2 * self._looked:
            self._settle()

    def _needed(self) -> int | None:
        """How many of the highest values of a unit can reach the quantile."""
        if self.images is None:
            return None
        return math.ceil((1 - self.quantile) * self.images * self._positions + Fraction(1, 2)) + 1

    def _most(self) -> int | None:
        """How many fine bins a unit may have."""
        if self.images is None:
            return None
        return math.ceil(max(FINE, FINE_OF_LAYER // self._units) * max(Fraction(1), (1 - self.quantile) * 200))

    def _settle(self) -> None:
        """Count the buffers in, and drop what the quantile cannot reach."""
        self._looked = self._seen
        if not self._buffer:
            return
        fine = fill_bins(torch.cat(self._buffer), SHIFT)
        if self._zeros is not None:
            fine = join_bins(fine, zero_bins(self._zeros))
        rest = empty_bins(fine.code.device)
        for more in self._rest_buffer:
            rest = join_bins(rest, more)
        self._buffer, self._rest_buffer, self._zeros = [], [], None
        self._add(fine, rest)

    def bins(self) -> tuple[Bins, Bins]:
        """Return the fine bins and, all below them, the wide ones."""
        self._settle()
        return self._unpacked(), self._rest

    def _unpacked(self) -> Bins:
        return empty_bins(self._rest.code.device) if self._fine is None else unpack_bins(self._fine, SHIFT)

    def _add(self, fine: Bins, rest: Bins) -> None:
        device, needed, most = fine.code.device, self._needed(), self._most()
        self._bound = torch.full((self._units,), -torch.inf, device=device)
        self._cut = self._bound.clone()
        parts: list[tuple[Bins, Bins]] = []
        for bins, new, own_rest, new_rest in unit_blocks(self._units, self._unpacked(), fine, self._rest, rest):
            joined, below = join_bins(bins, new), join_bins(own_rest, new_rest)
            if most is not None:
                joined, below = keep_highest(joined, below, most, self._cut)
            parts.append((joined, below) if needed is None else prune(joined, below, needed, self._bound))
        highest, self._rest = (
            Bins(*(torch.cat(columns) for columns in zip(*pieces, strict=True))) for pieces in zip(*parts, strict=True)
        )
        self._fine = pack_bins(highest, self._units, SHIFT)

    def compute(self) -> Tensor:
        """Return the thresholds, float32 ``[U]``.

        Raises:
            ValueError: if nothing was counted.
        """
        rough = int(self.unresolved().sum())
        if rough:
            logger.warning(
                "the quantile of %d of %d units is known within 3 %% alone: these units have more different values "
                "above it than are kept. A second sweep over the same maps with refined() makes it exact.",
                rough,
                self._units,
            )
        return self._read()

    def _read(self) -> Tensor:
        below, over, share = self.ranks()
        bins, above, _ = ranked(*self.bins(), self._units)
        ranks = torch.full((2, self._units), below, device=above.device)
        ranks[1] = over
        low, high = (value_at(bins, above, rank) for rank in ranks)
        return torch.where(low == high, low, low + (high - low) * share).float()

    def ranks(self) -> tuple[int, int, float]:
        """Return what :func:`hazen_ranks` says of the values counted so far."""
        self._settle()
        if not self.values:
            raise ValueError("A quantile needs values: show at least one image before asking for it.")
        if self._needed() is not None and self.values > (self.images or 0) * self._positions:
            raise ValueError(
                f"images: {self.values // self._positions} images were counted, {self.images} announced; "
                "the quantile may have been dropped. Announce at least as many as come."
            )
        return hazen_ranks(self.quantile, self.values)

    def unresolved(self) -> Tensor:
        """Return which units' quantile lies in a wide bin, bool ``[U]``."""
        below, over, _ = self.ranks()
        bins, above, wide = ranked(*self.bins(), self._units)
        reached = wide & (above <= below) & (over < above + bins.count)
        return torch.zeros(self._units, dtype=torch.bool, device=above.device).index_fill_(0, bins.unit[reached], True)

    def refined(self, *, all_units: bool = True) -> RefinedQuantile:
        """Return what makes the quantile exact in a second sweep over the same values.

        Args:
            all_units: of every unit; else of the unresolved ones alone, and the others stay as they are.
        """
        below, over, share = self.ranks()
        bins, above, _ = ranked(*self.bins(), self._units)
        inside = [(above <= rank) & (rank < above + bins.count) for rank in (below, over)]
        bins, above = bins.select(inside[0] | inside[1]), above[inside[0] | inside[1]]
        low = torch.full((self._units,), torch.inf, device=above.device)
        low = low.scatter_reduce_(0, bins.unit, bins.low, "amin")
        high = torch.full_like(low, -torch.inf).scatter_reduce_(0, bins.unit, bins.high, "amax")
        over_it = torch.full((self._units,), self.values, device=above.device)
        over_it = over_it.scatter_reduce_(0, bins.unit, above, "amin")
        if self._cut is not None:  # a wide bin ends where the fine ones begin, of which none is to be counted again
            cut = self._cut.to(high.device)
            high = torch.where((low <= cut) & (cut < high), cut, high)
        if not all_units:
            settled = ~self.unresolved()
            low, high = (torch.where(settled, self._read(), bound) for bound in (low, high))
        return RefinedQuantile(low, high, over_it, (below, over, share))

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        if not state["units"]:
            return
        self._settle()
        self._units, self._positions = state["units"], state["positions"]
        self.values += state["values"]
        device = self._rest.code.device
        self._add(*(bins.to(device) for bins in loaded_bins(state["bins"])))

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain types and tensors in main memory: equal for equal values, however they came."""
        self._settle()
        fine = pack_bins(empty_bins(), 0, SHIFT) if self._fine is None else self._fine
        return {"bins": [column.cpu() for column in (*fine, self._rest.code, self._rest.count)]} | self.sizes()

    def held_bytes(self) -> int:
        """Return the memory of the counts, without what waits to be counted."""
        self._settle()
        columns = (*(self._fine or ()), *self._rest)
        return sum(column.numel() * column.element_size() for column in columns)

    def sizes(self) -> dict[str, int]:
        """Return the number of units, positions, and values of a unit."""
        return {"units": self._units, "positions": self._positions, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the counts."""
        self.restore(*loaded_bins(state["bins"]), state["units"], state["positions"], state["values"])

    def restore(self, fine: Bins, rest: Bins, units: int, positions: int, values: int) -> None:
        """Replace the counts by those of :meth:`bins`, of one or of several parts, merged."""
        self._fine, self._rest, self._buffer, self._rest_buffer = None, empty_bins(rest.code.device), [], []
        self._bound = self._cut = self._zeros = None
        self._units, self._positions, self.values = units, positions, values
        self._seen = self._looked = values
        if units:
            self._add(fine, rest)
