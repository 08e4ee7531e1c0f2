"""What a layer returns, as maps of its units: ``[B, U, H, W]``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from torch import Tensor, nn

Form = Literal["maps", "channels_last", "tokens", "vectors"]
"""``[B, U, H, W]``, ``[B, H, W, U]``, ``[B, T, U]`` or ``[B, U]``."""

Reduce = Literal["max", "mean"]

_MOST_APART = 16


@dataclass(frozen=True)
class Layout:
    """How a layer's output holds its units and their places.

    Attributes:
        form: the order of axes.
        shape: of the output for one image of the network's own size, without the batch.
        apart: of tokens so many that come first and lie nowhere in the image: class and register tokens.
        grid: of tokens the rows and columns of patches.
    """

    form: Form
    shape: tuple[int, ...]
    apart: int = 0
    grid: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, shape: tuple[int, ...], module: nn.Module | None, grids: list[tuple[int, int]]) -> Self | None:
        """Return the layout of an output; None for an output that no images' units can be told in.

        Args:
            shape: for one square image, without the batch.
            module: that returns it.
            grids: of patches, which the network's tokens may stand for.
        """
        if len(shape) == 1:
            return cls("vectors", shape)
        if len(shape) == 3:
            return cls("channels_last" if _ends_in_channels(shape, module) else "maps", shape)
        if len(shape) == 2:
            for rows, columns in grids:
                if 0 <= shape[0] - rows * columns <= _MOST_APART:
                    return cls("tokens", shape, shape[0] - rows * columns, (rows, columns))
                while rows * columns > shape[0] and not rows % 2 and not columns % 2:  # merged by fours
                    rows, columns = rows // 2, columns // 2
                if rows * columns == shape[0]:
                    return cls("tokens", shape, 0, (rows, columns))
        return None

    @classmethod
    def of_image(
        cls, shape: tuple[int, ...], module: nn.Module | None, grids: list[tuple[int, int]], image: tuple[int, int]
    ) -> Self | None:
        """Return the layout of an output for an image that need not be square; see :meth:`of`.

        Args:
            shape: without the batch.
            module: that returns it.
            grids: of patches of this image.
            image: its height and width in pixels. Of three axes the two are places whose ratio is nearest to theirs.
        """
        height, width = image
        if len(shape) != 3 or height == width:
            return cls.of(shape, module, grids)
        first, second, last = shape
        target = math.log(height / width)
        channels_last = abs(math.log(first / second) - target) < abs(math.log(second / last) - target)
        return cls("channels_last" if channels_last else "maps", shape)

    @property
    def units(self) -> int:
        """How many there are."""
        return self.shape[0] if self.form in ("maps", "vectors") else self.shape[-1]

    @property
    def axis(self) -> int:
        """Which axis of the output, with the batch, counts the units."""
        return 1 if self.form in ("maps", "vectors") else len(self.shape)

    def without(self, output: Tensor, units: Sequence[int]) -> Tensor:
        """Return a copy of an output in which some units are zero everywhere."""
        changed = output.clone()
        changed.movedim(self.axis, 0)[list(units)] = 0
        return changed

    @property
    def has_places(self) -> bool:
        """Whether a unit has a map; of a vector it is one number."""
        return self.form != "vectors"

    def maps(self, output: Tensor) -> Tensor:
        """Return ``[B, U, H, W]``, a view where that can be; H = W = 1 for vectors.

        Raises:
            ValueError: if the output is of another form.
        """
        if output.dim() != len(self.shape) + 1:
            raise ValueError(
                f"expected an output like [B, {', '.join(map(str, self.shape))}], got {list(output.shape)}."
            )
        if self.form == "maps":
            return output
        if self.form == "vectors":
            return output[:, :, None, None]
        if self.form == "channels_last":
            return output.movedim(-1, 1)
        rows, columns = self._grid(output.shape[1] - self.apart)
        patches = output[:, self.apart :].movedim(-1, 1)
        return patches.reshape(*patches.shape[:2], rows, columns)

    def _grid(self, patches: int) -> tuple[int, int]:
        """Return the grid of images of this size: the network's own, or the square one of square images."""
        if patches == self.grid[0] * self.grid[1]:
            return self.grid
        side = math.isqrt(max(0, patches))
        if side * side != patches or not patches:
            raise ValueError(f"{patches} patch tokens lie on no square grid; give square images.")
        return side, side

    def __str__(self) -> str:
        return f"{self.form.replace('_', ' ')} [B, {', '.join(map(str, self.shape))}]"


def reduced(maps: Tensor, reduce: Reduce) -> Tensor:
    """Return the maximum or mean of maps ``[B, U, H, W]`` over all places, ``[B, U]``."""
    return maps.amax(dim=(2, 3)) if reduce == "max" else maps.mean(dim=(2, 3))


def _ends_in_channels(shape: tuple[int, ...], module: nn.Module | None) -> bool:
    """Whether ``[H, W, U]`` is meant, not ``[U, H, W]``: of a square image the two equal sides are the places."""
    first, second, last = shape
    if first == second == last:
        norm = isinstance(module, nn.LayerNorm) and not type(module).__name__.endswith("2d")
        return norm or isinstance(module, nn.Linear)
    return first == second
