"""The second sweep over the same values that makes a quantile exact."""

from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.metrics.bins import Bins, counts_above, empty_bins, fill_bins, join_bins, value_at, value_codes


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
        self.low, self.high, self.above = (bound.to(maps.device) for bound in (self.low, self.high, self.above))
        self._bins = self._bins.to(maps.device)
        open_ = self.low < self.high
        units = open_.nonzero().squeeze(1)
        maps = maps[:, units]
        inside = ((maps >= self.low[units, None]) & (maps <= self.high[units, None])).nonzero(as_tuple=True)
        self._bins = join_bins(self._bins, fill_bins(value_codes(units[inside[1]], maps[inside]), 0))

    def compute(self) -> Tensor:
        """Return the thresholds, float32 ``[U]``, equal to those of the sorted values."""
        below, over, share = self._ranks
        above = counts_above(self._bins) + self.above[self._bins.unit]
        ranks = torch.full((2, len(self.low)), below, device=above.device)
        ranks[1] = over
        low, high = (value_at(self._bins, above, rank) for rank in ranks)
        value = torch.where(low == high, low, low + (high - low) * share).float()
        return torch.where(self.low < self.high, value, self.low)

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        self._bins = join_bins(self._bins, Bins(*state["bins"]).to(self.low.device))

    def state_dict(self) -> dict[str, Any]:
        """Return bounds and counts as plain types and tensors in main memory."""
        bounds = {"low": self.low.cpu(), "high": self.high.cpu(), "above": self.above.cpu()}
        return bounds | {"ranks": list(self._ranks), "bins": [column.cpu() for column in self._bins]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace bounds and counts."""
        self.low, self.high, self.above = state["low"], state["high"], state["above"]
        below, over, share = state["ranks"]
        self._ranks, self._bins = (below, over, share), Bins(*state["bins"])
