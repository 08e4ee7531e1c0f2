"""What sensitivity keeps of the images: moments of activations and of their changes, whatever the number of images."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from lightning_advinterp.core.states import Summed
from lightning_advinterp.metrics.moments import Moments, merged
from lightning_advinterp.units.maps import Reduce
from lightning_advinterp.units.top_images import TopImages

HALVES = (0, 1)
READINGS: tuple[Reduce, ...] = ("max", "mean")
"""How an activation map becomes one number: the spatial maximum (a_i of the other analyses), and the spatial mean."""

GROUPS = (0, 1, 2, 3)
"""Halves of the images that no dissection has seen, then halves of those that it has."""


class Changes(Summed):
    """How an image kind changes units, by group of images.

    Attributes:
        signed: group to moments of a(x') − a(x), columns of both readings.
        size: group to moments of its magnitude.
    """

    grown: ClassVar[Mapping[str, int]] = {"signed": 1, "size": 1}

    def __init__(self) -> None:
        self.signed: dict[int, Moments] = {}
        self.size: dict[int, Moments] = {}

    def update(self, change: Tensor, group: Tensor) -> None:
        """Take in one batch: changes ``[B, C]``, and the images' groups, int64 ``[B]``."""
        for number in GROUPS:
            rows = change[group == number]
            if len(rows):
                self.signed.setdefault(number, Moments(rows.shape[1])).update(rows)
                self.size.setdefault(number, Moments(rows.shape[1])).update(rows.abs())

    def part(self, name: str, state: dict[str, Tensor]) -> Moments:
        """Return no moments yet."""
        return Moments(len(state["count"]))

    def of(self, name: str, columns: int, groups: tuple[int, ...] = GROUPS) -> Moments:
        """Return the moments ``signed`` or ``size`` of some groups together, in the order of their numbers."""
        parts: dict[int, Moments] = getattr(self, name)
        return merged([parts[group] for group in groups if group in parts], columns)


class RealUnits(Summed):
    """How units answer to the real images.

    Args:
        columns: readings times units.
        keep: top images of every unit and half; 0 keeps none.

    Attributes:
        moments: of both readings.
        active: int64 ``[U]``, places above zero.
        places: int64 ``[U]``, places in all.
        top: the images that drive the units most, of each half.
    """

    summed = ("moments", "active", "places", "top")

    def __init__(self, columns: int, keep: int | None) -> None:
        self.moments = Moments(columns)
        units = columns // len(READINGS)
        self.active, self.places = (torch.zeros(units, dtype=torch.int64) for _ in range(2))
        self.top = [] if keep == 0 else [TopImages(keep) for _ in HALVES]
