"""What fragility remembers: everything belongs to an image's number, so that parts of a run merge into one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.core.result import Row


@dataclass
class Picture:
    """What one image's figure needs.

    Attributes:
        image: uint8 ``[H, W, 3]``.
        maps: method to its map, uint8 ``[H, W]``.
        cases: number of a case to the perturbed image and its map, and the map that the attack aims at, if it does.
    """

    image: Tensor
    maps: dict[str, Tensor] = field(default_factory=dict)
    cases: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)


class FragilityState(Summed):
    """Rows, courses of the attacks, reference levels and pictures by image number, and the pool of other images.

    Args:
        pool: keep so many other images, those of lowest rank.
        show: keep pictures of so many images, those of lowest number.

    Attributes:
        rows: image to its rows, one for each case that ran, under the case's number.
        courses: image to case to the objective before every step and at the end, float32 ``[T]``.
        others: image to method to the similarity with another image's map.
        faithfulness: image to method to the areas of deletion and insertion.
        smooth_kept: image to method to whether its softplus keeps the class; only for methods that have one.
        no_map: image to method to whether its map, before any attack, is constant or not finite.
        skipped: images that are classified wrongly.
        left: images for which no time was left.
        pool: image to (rank, label, pixels ``[C, H, W]``).
        pictures: image to its picture.
    """

    united = (
        *("rows", "courses", "others", "faithfulness", "smooth_kept", "no_map", "skipped", "left", "pool", "pictures"),
    )
    records: ClassVar[Mapping[str, type]] = {"pictures": Picture}

    def __init__(self, pool: int, show: int) -> None:
        self._pool_size, self._show = pool, show
        self.rows: dict[int, dict[int, Row]] = {}
        self.courses: dict[int, dict[int, Tensor]] = {}
        self.others: dict[int, dict[str, Row]] = {}
        self.faithfulness: dict[int, dict[str, Row]] = {}
        self.smooth_kept: dict[int, dict[str, bool]] = {}
        self.no_map: dict[int, dict[str, bool]] = {}
        self.skipped: set[int] = set()
        self.left: set[int] = set()
        self.pool: dict[int, tuple[int, int, Tensor]] = {}
        self.pictures: dict[int, Picture] = {}

    def offer(self, number: int, rank: int, label: int, image: Tensor) -> None:
        """Take an image into the pool if its rank is among the lowest."""
        self.pool[number] = (rank, label, image.detach().cpu().clone())  # a view would keep, and save, its batch
        self.trim()

    def shows(self, number: int) -> bool:
        """Whether the pictures of an image are kept."""
        return len(self.pictures) < self._show or number < max(self.pictures, default=-1)

    def trim(self) -> None:
        """Forget what exceeds the pool's and the pictures' numbers."""
        lowest = sorted(self.pool, key=lambda number: (self.pool[number][0], number))
        self.pool = {number: self.pool[number] for number in lowest[: self._pool_size]}
        self.pictures = {number: self.pictures[number] for number in sorted(self.pictures)[: self._show]}

    def merge(self, state: dict[str, Any]) -> None:
        """Add another part's images."""
        super().merge(state)
        self.trim()


def as_image(image: Tensor) -> Tensor:
    """Return pixels ``[3, H, W]`` in [0, 1] as uint8 ``[H, W, 3]`` on the CPU."""
    return (255 * image.detach()).round().clamp(0, 255).byte().permute(1, 2, 0).cpu()


def as_grey(heatmap: Tensor) -> Tensor:
    """Return a map ``[H, W]`` as uint8, white at its 99.5 % quantile, on the CPU."""
    heatmap = heatmap.detach().float().nan_to_num()
    largest = torch.quantile(heatmap, 0.995).clamp(min=torch.finfo(torch.float32).tiny)
    return (255 * (heatmap / largest).clamp(0, 1)).round().byte().cpu()
