"""Top quantiles of every unit over a stream of feature maps, in bounded memory and whatever the order of the stream."""

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.metrics.bins import (
    Bins,
    counts_above,
    empty_bins,
    fill_bins,
    join_bins,
    lower_edge,
    unit_blocks,
    value_at,
    value_codes,
)

SHIFT = 12
"""A bin joins 2¹² neighbouring floats: 20 bits of the value stay, a relative width of at most 2⁻¹¹."""
OFFICIAL = Fraction(994, 999)
"""The quantile that NetDissect's code reads for its 0.995: entry 994 of 1,000 points from 0 to 1."""
_BUFFER = 1 << 18
_CHUNK = 1 << 20


def as_quantile(quantile: float | str | Fraction) -> Fraction:
    """Return a quantile as an exact fraction; ``official`` is 994/999.

    Raises:
        ValueError: if it is not between 0 and 1.
    """
    if quantile == "official":
        return OFFICIAL
    if isinstance(quantile, str) or not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1 or be 'official', got {quantile!r}.")
    return Fraction(quantile).limit_denominator(1_000_000)


def hazen_ranks(quantile: Fraction, n: int) -> tuple[int, int, float]:
    """Return the ranks from the top, counted from 0, between which Hazen's quantile of n values lies.

    The position from the bottom is q·n − 1/2 (numpy's ``method="hazen"``), in exact arithmetic: where it is whole, the
    quantile is one of the values, and what is equal to it does not exceed it.

    Returns:
        The rank below, the rank above, and how far the quantile lies from the first to the second, in [0, 1).
    """
    position = min(max(quantile * n - Fraction(1, 2), Fraction(0)), Fraction(n - 1))
    below = math.floor(position)
    return n - 1 - below, max(n - 2 - below, 0), float(position - below)


class TopQuantile:
    """The q-quantile of every unit of a layer over all images and positions, from integer counts.

    Values are counted in bins of 20 bits of their float32, each with its exact smallest and largest value. Bins that
    the quantile cannot reach are dropped: given the number of images to come, only the highest (1 − q) share of all
    values counts, and a bin with that many above it is out. What remains depends on the values alone, not on their
    order, batches or processes: states of parts, merged, equal the state of the whole. The relative error is at most
    2⁻¹¹ (below the normal numbers, 1e-38, the absolute one at most 2⁻¹³⁷); there is none where a bin holds one or two
    different values, as for constant and dead units.

    A unit keeps at most as many bins as its top share has values, and about 2,000 per factor of two between the
    quantile and the maximum, at 24 bytes each.

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
        self._bins = empty_bins()
        self._buffer: list[Tensor] = []
        self._bound: Tensor | None = None

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
        self._bins = self._bins.to(maps.device)  # a loaded state lies in the main memory
        if self._bound is not None:
            self._bound = self._bound.to(maps.device)
        most = max(1, _CHUNK // (units * self._positions))
        start = 0
        while start < images:
            wanted = self._needed() or 0
            # As many as were seen already, so that a bound is soon known, and few values pass it.
            chunk = max(1, min(most, max(self._seen, wanted // 4) // self._positions))
            self._count(maps[start : start + chunk])
            start += chunk

    def _count(self, maps: Tensor) -> None:
        self._seen += len(maps) * self._positions
        self.values += len(maps) * self._positions
        flat = maps.reshape(-1)
        if self._bound is None:
            passed = torch.arange(len(flat), device=maps.device)
        else:
            passed = (maps > self._bound[:, None]).reshape(-1).nonzero().squeeze(1)
        unit = passed.div(self._positions, rounding_mode="floor").remainder_(self._units)
        value = flat[passed]
        if self._bound is None:
            finite = value > -torch.inf
            unit, value = unit[finite], value[finite]
        self._buffer.append(value_codes(unit, value))
        waiting = sum(map(len, self._buffer))
        if waiting > min(max(_BUFFER, len(self._bins.code)), _CHUNK) or self._seen >= 2 * self._looked:
            self._settle()

    def _needed(self) -> int | None:
        """How many of the highest values of a unit can reach the quantile."""
        if self.images is None:
            return None
        return math.ceil((1 - self.quantile) * self.images * self._positions + Fraction(1, 2)) + 1

    def _settle(self) -> None:
        """Count the buffer in, and drop the bins that the quantile cannot reach."""
        self._looked = self._seen
        if self._buffer:
            codes, self._buffer = torch.cat(self._buffer), []
            self._add(fill_bins(codes, SHIFT))

    def _add(self, more: Bins) -> None:
        needed = self._needed()
        if needed is not None:
            self._bound = torch.full((self._units,), -torch.inf, device=more.code.device)
        parts = []
        for own, new in unit_blocks(self._units, self._bins, more):
            joined = join_bins(own, new)
            parts.append(joined if needed is None else self._pruned(joined, needed))
        self._bins = Bins(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _pruned(self, bins: Bins, needed: int) -> Bins:
        """Return the bins that the quantile can reach, and note what can still come in."""
        above = counts_above(bins)
        bins, above = bins.select(above < needed), above[above < needed]
        # The lowest bin kept, where it completes the number needed, bounds what can still come in.
        first = torch.ones_like(bins.code, dtype=torch.bool)
        first[1:] = bins.unit[1:] != bins.unit[:-1]
        full = first & (above + bins.count >= needed)
        # A unit that is mostly 0 shall not count its zeros for ever: beyond the number needed they tell nothing.
        zeros = full & (bins.low == 0) & (bins.high == 0)
        if self._bound is not None:
            self._bound[bins.unit[full]] = lower_edge(bins.code[full], SHIFT)
            self._bound[bins.unit[zeros]] = 0.0
        return bins._replace(count=torch.where(zeros, needed - above, bins.count))

    def compute(self) -> Tensor:
        """Return the thresholds, float32 ``[U]``.

        Raises:
            ValueError: if nothing was counted.
        """
        below, over, share = self.ranks()
        above = counts_above(self._bins)
        ranks = torch.full((2, self._units), below, device=above.device)
        ranks[1] = over
        low, high = (value_at(self._bins, above, rank) for rank in ranks)
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

    def refined(self) -> "RefinedQuantile":
        """Return what makes the quantile exact in a second sweep over the same values."""
        below, over, share = self.ranks()
        above = counts_above(self._bins)
        held = [(above <= rank) & (rank < above + self._bins.count) for rank in (below, over)]
        bins, above = self._bins.select(held[0] | held[1]), above[held[0] | held[1]]
        low = torch.full((self._units,), torch.inf, device=above.device)
        low = low.scatter_reduce_(0, bins.unit, bins.low, "amin")
        high = torch.full_like(low, -torch.inf).scatter_reduce_(0, bins.unit, bins.high, "amax")
        over_it = torch.full((self._units,), self.values, device=above.device)
        over_it = over_it.scatter_reduce_(0, bins.unit, above, "amin")
        return RefinedQuantile(low, high, over_it, (below, over, share))

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        if not state["units"]:
            return
        self._settle()
        self._units, self._positions = state["units"], state["positions"]
        self.values += state["values"]
        self._add(Bins(*state["bins"]).to(self._bins.code.device))

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain types and tensors in main memory: equal for equal values, however they came."""
        self._settle()
        sizes = {"units": self._units, "positions": self._positions, "values": self.values}
        return {"bins": [column.cpu() for column in self._bins], **sizes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the counts."""
        self._bins, self._buffer, self._bound = Bins(*state["bins"]), [], None
        self._units, self._positions, self.values = state["units"], state["positions"], state["values"]
        self._seen = self._looked = self.values
        if self._units:
            self._add(empty_bins())


class RefinedQuantile:
    """The second sweep that makes a quantile exact: it counts single values between two bounds.

    Args:
        low: float32 ``[U]``, the smallest value that the quantile may be.
        high: float32 ``[U]``, the largest.
        above: int64 ``[U]``, how many values are larger than ``high``.
        ranks: of :func:`hazen_ranks`.
    """

    def __init__(self, low: Tensor, high: Tensor, above: Tensor, ranks: tuple[int, int, float]) -> None:
        self.low, self.high, self.above, self._ranks = low, high, above, ranks
        self._bins = empty_bins(low.device)

    def update(self, maps: Tensor) -> None:
        """Count the activations ``[B, U, H, W]`` that lie between the bounds; units known exactly are passed over."""
        maps = maps.detach().float().flatten(2)
        self.low, self.high, self.above = (one.to(maps.device) for one in (self.low, self.high, self.above))
        self._bins = self._bins.to(maps.device)
        open_ = self.low < self.high
        units = open_.nonzero().squeeze(1)
        maps = maps[:, units]
        held = ((maps >= self.low[units, None]) & (maps <= self.high[units, None])).nonzero(as_tuple=True)
        self._bins = join_bins(self._bins, fill_bins(value_codes(units[held[1]], maps[held]), 0))

    def compute(self) -> Tensor:
        """Return the thresholds, float32 ``[U]``, equal to those of the sorted values."""
        below, over, share = self._ranks
        above = counts_above(self._bins) + self.above[self._bins.unit]
        ranks = torch.full((2, len(self.low)), below, device=above.device)
        ranks[1] = over
        low, high = (value_at(self._bins, above, rank) for rank in ranks)
        read = torch.where(low == high, low, low + (high - low) * share).float()
        return torch.where(self.low < self.high, read, self.low)

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        self._bins = join_bins(self._bins, Bins(*state["bins"]).to(self.low.device))

    def state_dict(self) -> dict[str, Any]:
        """Return bounds and counts as plain types and tensors in main memory."""
        bounds = {"low": self.low.cpu(), "high": self.high.cpu(), "above": self.above.cpu()}
        return bounds | {"ranks": list(self._ranks), "bins": [column.cpu() for column in self._bins]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "RefinedQuantile":
        """Return what :meth:`state_dict` was taken of."""
        below, over, share = state["ranks"]
        refined = cls(state["low"], state["high"], state["above"], (below, over, share))
        refined._bins = Bins(*state["bins"])
        return refined
