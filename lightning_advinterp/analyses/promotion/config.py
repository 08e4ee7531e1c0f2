"""What promotion measures."""

from dataclasses import dataclass

from lightning_advinterp.core.settings import require_least
from lightning_advinterp.metrics.cells import Grid, default_cell
from lightning_advinterp.metrics.promotion import THRESHOLD, XI


@dataclass(frozen=True)
class PromotionConfig:
    """What is measured of every image and attack.

    Attributes:
        cell: side of a cell in pixels; left out: 13 px at 299 and the same share at other sizes (10 at 224, 2 at 32).
        xi: ξ of the types in ``promotion.csv``: effects up to it count as none. The summary sweeps it.
        threshold: from which |r| one effect dominates there; swept likewise.
        screening: also rank cells by gradients, and report how many of the most sensitive cells these find.
        show: images in the figures.
        limit: number of images: each takes two forward passes per cell and attack.
        batch_size: images at a time; an interruption loses at most so many.
        chunk: the most copies of images in one forward pass.
        seed: of the choice of other images and of the intervals.
    """

    cell: int | None = None
    xi: float = XI
    threshold: float = THRESHOLD
    screening: bool = False
    show: int = 4
    limit: int = 64
    batch_size: int = 16
    chunk: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        require_least(self, {"show": 0, "limit": 1, "batch_size": 1, "chunk": 1})
        if self.cell is not None and self.cell < 1:
            raise ValueError(f"cell must be 1 pixel or more, got {self.cell}.")
        for name in ("xi", "threshold"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a finite number above 0, got {getattr(self, name)}.")

    def grid(self, height: int, width: int) -> Grid:
        """Return the cells of an image.

        Raises:
            ValueError: if a cell is larger than the image.
        """
        try:
            return Grid(height, width, default_cell(height, width) if self.cell is None else self.cell)
        except ValueError as error:
            raise ValueError(f"promotion.{error}") from None
