"""A cheap source of random numbers for many small draws."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Dice:
    """Draws scalars from a NumPy generator in blocks.

    A picture takes some two hundred draws; one call of the generator for each would cost as much as the
    drawing itself.

    Args:
        seed: integers that the generator is seeded with, for instance ``(seed, index)``.
    """

    _BLOCK = 256

    def __init__(self, *seed: int) -> None:
        self._generator = np.random.default_rng(list(seed))
        self._pool: list[float] = []

    def unit(self) -> float:
        """Return a number in [0, 1)."""
        if not self._pool:
            self._pool = self._generator.random(self._BLOCK).tolist()
        return self._pool.pop()

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """Return an integer in [low, high], both ends included."""
        return low + int((high - low + 1) * self.unit())

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.unit() < probability

    def choice(self, items: Sequence[T]) -> T:
        """Return one of the items, all equally likely."""
        return items[int(len(items) * self.unit())]

    def field(self, rows: int, columns: int) -> NDArray[np.float32]:
        """Return float32 ``[rows, columns]`` of numbers in [0, 1)."""
        return self._generator.random((rows, columns), dtype=np.float32)
