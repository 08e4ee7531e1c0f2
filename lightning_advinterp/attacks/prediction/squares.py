"""What the Square attack draws: sizes, places and values of its squares (Andriushchenko et al. 2020).

Every sample has its own squares, drawn from its key; the authors' code draws one place for the whole batch.
"""

import functools
import math

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.threat import l2_norm
from lightning_advinterp.core.randomness import uniform

_STREAM = 0x737175617265  # "square"
SCHEDULE = 10_000
"""Queries that the schedule of sizes is made for."""
_BENDS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def share_of_pixels(query: int, queries: int, first: float = 0.8) -> float:
    """Return p, the square's share of the image: ``first``, halved after each of nine bends of 10 000 queries.

    The bends 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 are scaled to the number of queries.
    """
    scaled = int(query / queries * SCHEDULE)
    return float(first / 2 ** sum(scaled > bend for bend in _BENDS))


def side(share: float, height: int, width: int, *, odd: bool = False) -> int:
    """Return the side in pixels of a square with this share of the image; ``odd``: an odd one of 3 or more."""
    length = round(math.sqrt(share * height * width))
    if odd:
        length = max(length, 3)
        length += length % 2 == 0
    return max(1, min(length, height, width))


def place(draw: Tensor, length: int, height: int, width: int) -> Tensor:
    """Return the upper left corners of squares, int64 ``[B, 2]``, from uniform draws ``[B, 2]``."""
    return torch.stack([(draw[:, i] * (size - length + 1)).long() for i, size in enumerate((height, width))], 1)


def inside(corner: Tensor, length: int, height: int, width: int) -> Tensor:
    """Return the squares as masks, bool ``[B, 1, H, W]``, from corners ``[B, 2]``."""
    rows, columns = (
        (at := torch.arange(size, device=corner.device) - corner[:, i : i + 1]) * (length - 1 - at) >= 0
        for i, size in enumerate((height, width))
    )
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def signs(draw: Tensor, dtype: torch.dtype) -> Tensor:
    """Return −1 or 1, from uniform draws."""
    return torch.where(draw < 0.5, -1.0, 1.0).to(dtype)


def stripes(x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
    """Return the L∞ start: x with ±ε along every column, drawn per column and channel."""
    draw = uniform(keys, (x.shape[1], 1, x.shape[3]), stream=_STREAM)
    return (x + radius * signs(draw, x.dtype)).clamp(0, 1)


def linf_proposal(x: Tensor, best: Tensor, radius: Tensor, keys: Tensor, share: float) -> Tensor:
    """Return ``best`` with ±2ε in a square, one sign per channel, cut to the ball and the box."""
    channels, height, width = x.shape[1:]
    draw = uniform(keys, (2 + channels,), stream=_STREAM)
    length = side(share, height, width)
    mask = inside(place(draw[:, :2], length, height, width), length, height, width)
    change = 2 * radius * signs(draw[:, 2:, None, None], x.dtype) * mask
    return torch.clamp(best + change, x - radius, x + radius).clamp_(0, 1)


@functools.lru_cache(maxsize=64)
def square_pattern(length: int) -> Tensor:
    """Return η, float64 ``[length, length]`` of norm 1: a hill in the upper half, its negative in the lower.

    A hill is a sum of nested rectangles around the middle, the n-th of weight 1/n² (Section 4.2 and Appendix).
    """

    def hill(height: int, width: int) -> Tensor:
        total = torch.zeros(height, width, dtype=torch.float64)
        for n in range(max(height, width) // 2 + 1):
            top, left = max(height // 2 - n, 0), max(width // 2 - n, 0)
            total[top : height // 2 + n + 1, left : width // 2 + n + 1] += 1 / (n + 1) ** 2
        return total / l2_norm(total[None]).view(())

    upper = length // 2
    halves = [hill(upper, length)] if upper else []
    pattern = torch.cat([*halves, -hill(length - upper, length)])
    return pattern / l2_norm(pattern[None]).view(())


def stamped(corner: Tensor, flipped: Tensor, length: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return η at the corners, ``[B, 1, H, W]``, 0 elsewhere; transposed where bool ``[B]`` says so."""
    row, column = (
        (torch.arange(size, device=corner.device) - corner[:, i : i + 1]).clamp(0, length - 1)
        for i, size in enumerate((height, width))
    )
    row, column = row[:, :, None], column[:, None, :]
    flip = flipped[:, None, None]
    values = square_pattern(length).to(corner.device, dtype)[
        torch.where(flip, column, row), torch.where(flip, row, column)
    ]
    return values[:, None] * inside(corner, length, height, width)


def tiles(x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
    """Return the L2 start: x with a grid of signed η, five to a side, scaled to length ε and cut to the box."""
    channels, height, width = x.shape[1:]
    length = max(1, min(height, width) // 5)
    across, down = width // length, height // length
    draw = uniform(keys, (down, across, 1 + channels), stream=_STREAM)
    eta = square_pattern(length).to(x)
    flipped = (draw[..., 0] > 0.5)[:, :, :, None, None]
    tile = (
        torch.where(flipped, eta.T, eta)[:, None] * signs(draw[..., 1:], x.dtype).permute(0, 3, 1, 2)[..., None, None]
    )
    grid = tile.permute(0, 1, 2, 4, 3, 5).reshape(len(x), channels, down * length, across * length)
    above, left = (height - down * length) // 2, (width - across * length) // 2
    delta = torch.zeros_like(x)
    delta[:, :, above : above + grid.shape[2], left : left + grid.shape[3]] = grid
    return (x + radius * delta / l2_norm(delta)).clamp(0, 1)


def l2_proposal(x: Tensor, best: Tensor, radius: Tensor, keys: Tensor, share: float) -> Tensor:
    """Return a point of the ball with one square's change renewed, by the length that a second square gives up.

    In the first square ν becomes the direction of its old self plus a signed η per channel; the second one's ν
    becomes 0; what both held, and what is left of ε, is spent on the first (Algorithm 3).
    """
    channels, height, width = x.shape[1:]
    draw = uniform(keys, (5 + channels,), stream=_STREAM)
    length = side(share, height, width, odd=True)
    corner, second = (place(draw[:, i : i + 2], length, height, width) for i in (0, 2))
    first_window, second_window = (inside(at, length, height, width) for at in (corner, second))
    delta = best - x
    changed = delta * first_window
    unspent = (radius.square() - l2_norm(delta).square()).clamp(min=0) / channels
    both = _channel_norm(delta * (first_window | second_window))
    eta = stamped(corner, draw[:, 4] > 0.5, length, height, width, x.dtype)
    new = eta * signs(draw[:, 5:, None, None], x.dtype) + changed / _channel_norm(changed).clamp(min=1e-12)
    new = new / _channel_norm(new).clamp(min=1e-12) * (unspent + both.square()).sqrt()
    delta = torch.where(first_window, new, torch.where(second_window, 0, delta))
    return (x + radius * delta / l2_norm(delta).clamp(min=1e-12)).clamp(0, 1)


def _channel_norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
    return norm
