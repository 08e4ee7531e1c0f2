"""The grid of square cells into which an image is divided."""

from dataclasses import dataclass

import torch
from torch import Tensor

_SHARE = 13 / 299
"""Side of a cell as a share of the image's: the earlier attack of the authors of Xu et al. 2019 groups 13 of 299 px."""
_LEAST = 2
"""Pixels of the smallest cell that is a default: theirs at 32 px."""


@dataclass(frozen=True)
class Grid:
    """Square cells from the upper left corner on, row by row; those at the right and lower border may be cut off.

    Attributes:
        height: of the image in pixels.
        width: likewise.
        cell: side of a cell in pixels.

    Raises:
        ValueError: if a cell is smaller than a pixel or larger than the image.

    Example:
        >>> grid = Grid(3, 4, 2)
        >>> len(grid), grid.numbers().tolist()
        (4, [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]])
    """

    height: int
    width: int
    cell: int

    def __post_init__(self) -> None:
        longest = max(self.height, self.width)
        if not 1 <= self.cell <= longest:
            raise ValueError(f"cell must be 1 to {longest} pixels, the image's longer side, got {self.cell}.")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return -(-self.height // self.cell), -(-self.width // self.cell)

    def __len__(self) -> int:
        rows, columns = self.shape
        return rows * columns

    def numbers(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the number of every pixel's cell, int64 ``[H, W]``, row-major from 0."""
        rows, columns = (torch.arange(side, device=device) // self.cell for side in (self.height, self.width))
        return rows[:, None] * self.shape[1] + columns

    def sums(self, values: Tensor) -> Tensor:
        """Return the sum over every cell, float64, ``[B, H, W] -> [B, m]``."""
        places = self.numbers(values.device).flatten()
        totals = torch.zeros(len(values), len(self), dtype=torch.float64, device=values.device)
        return totals.index_add_(1, places, values.double().flatten(1))

    def means(self, values: Tensor) -> Tensor:
        """Return the mean over every cell's pixels inside the image, float64, ``[B, H, W] -> [B, m]``."""
        return self.sums(values) / self.sums(torch.ones_like(values[:1]))

    def spread(self, values: Tensor) -> Tensor:
        """Return every cell's value at its pixels, ``[B, m] -> [B, H, W]``."""
        return values[:, self.numbers(values.device)]


def default_cell(height: int, width: int) -> int:
    """Return the side of a cell of the preset ``xu2019``: 13 px at 299, the same share at other sizes, 2 px at 32.

    The paper's own grid is not known. The shorter side of an image that is not square decides.

    Example:
        >>> [default_cell(side, side) for side in (299, 224, 64, 32)]
        [13, 10, 3, 2]
    """
    return min(max(_LEAST, round(_SHARE * min(height, width))), max(height, width))
