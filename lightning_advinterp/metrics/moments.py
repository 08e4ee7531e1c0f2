"""Means and standard deviations of columns, streamed: the same whatever the batches and processes."""

from typing import Any, Self

import torch
from torch import Tensor

_ROUNDING = 1e-6
"""What float32 makes of one value in batches of different sizes differs by so much of it."""


class Moments:
    """Count, mean, variance and range of every column; NaN is a value that is missing.

    Parts merge by the update of Chan, Golub and LeVeque (1979), which stays exact where the mean is large beside the
    spread. A sum of squares would give a constant column a spread of its own.

    Args:
        columns: how many there are.
    """

    def __init__(self, columns: int) -> None:
        self.count = torch.zeros(columns, dtype=torch.int64)
        self.mean, self._squares = (torch.zeros(columns, dtype=torch.float64) for _ in range(2))
        self._low = torch.full((columns,), torch.inf, dtype=torch.float64)
        self._high = -self._low

    def update(self, values: Tensor) -> None:
        """Take in one batch, ``[B, columns]``."""
        values = values.detach().double().cpu()
        missing = values.isnan()
        part = Moments(values.shape[1])
        part.count = (~missing).sum(0)
        part.mean = values.nan_to_num(0).sum(0) / part.count.double().clamp(min=1)
        part._squares = (values - part.mean).square().nan_to_num(0).sum(0)
        if len(values):
            part._low = values.masked_fill(missing, torch.inf).amin(0)
            part._high = values.masked_fill(missing, -torch.inf).amax(0)
        self._add(part)

    def _add(self, part: Self) -> None:
        count = self.count + part.count
        share = part.count.double() / count.clamp(min=1)
        gap = part.mean - self.mean
        self._squares = self._squares + part._squares + gap.square() * self.count * share
        self.mean = torch.where(self.count == 0, part.mean, self.mean + gap * share)
        self.count = count
        self._low, self._high = torch.minimum(self._low, part._low), torch.maximum(self._high, part._high)

    def merge(self, state: dict[str, Any]) -> None:
        """Add another part's :meth:`state_dict`."""
        part = type(self)(len(self.count))
        part.load_state_dict(state)
        self._add(part)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments as tensors."""
        return {name.strip("_"): getattr(self, name).clone() for name in self._names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the moments."""
        for name in self._names:
            setattr(self, name, state[name.strip("_")].clone())

    _names = ("count", "mean", "_squares", "_low", "_high")

    def average(self) -> Tensor:
        """Return the means, NaN where there is no value."""
        return self.mean.where(self.count > 0, torch.nan)

    def deviation(self, unbiased: bool = False) -> Tensor:
        """Return the standard deviations, 0 for columns of one value, NaN where there is none.

        Values that differ by no more than float32's rounding are one value.

        Args:
            unbiased: divide by n − 1, to speak of more than these values; NaN for a single one.
        """
        free = self.count.double() - int(unbiased)
        deviations = (self._squares / free.clamp(min=1)).sqrt()
        size = torch.maximum(self._low.abs(), self._high.abs())
        deviations = deviations.masked_fill(self._high - self._low <= _ROUNDING * size, 0.0)
        return deviations.where(free > 0, torch.nan)


def merged(parts: list[Moments], columns: int) -> Moments:
    """Return the moments of several parts together."""
    total = Moments(columns)
    for part in parts:
        total.merge(part.state_dict())
    return total
