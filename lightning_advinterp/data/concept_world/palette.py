"""Colours: the paints of objects, and the basic colour name of a pixel."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.vocabulary import COLOR_NAMES, NUMBER

RGB = tuple[float, float, float]
"""Red, green, blue in 0–255."""

PAINTS: dict[str, RGB] = {
    "red": (202, 48, 44),
    "orange": (238, 128, 36),
    "yellow": (244, 200, 52),
    "green": (64, 152, 76),
    "blue": (48, 98, 190),
    "purple": (122, 68, 166),
    "pink": (238, 124, 164),
    "brown": (124, 78, 46),
    "white": (246, 243, 234),
    "grey": (124, 128, 136),
    "black": (58, 58, 70),
}
"""One toy-box paint for each basic colour term."""

_PAINT_NAMES = tuple(PAINTS)

# Focal colours in RGB; several per name where the name covers a wide region. A pixel takes the name of the
# nearest one in CIE Lab, with lightness counted at 0.8 so that shading changes names less than hue does.
_FOCI: dict[str, tuple[RGB, ...]] = {
    "black": ((10, 10, 10), (40, 40, 46)),
    "blue": ((30, 60, 200), (60, 110, 190), (110, 170, 225), (25, 40, 100), (165, 205, 235), (70, 150, 175)),
    "brown": ((110, 66, 36), (140, 95, 60), (80, 45, 25), (165, 125, 85)),
    "green": ((40, 140, 60), (110, 180, 90), (30, 80, 40), (160, 205, 130), (95, 125, 60)),
    "grey": ((128, 128, 128), (95, 96, 100), (165, 165, 168), (190, 190, 192)),
    "orange": ((240, 130, 30), (225, 110, 40), (245, 165, 85)),
    "pink": ((240, 130, 170), (250, 185, 205), (220, 95, 145)),
    "purple": ((120, 60, 165), (160, 110, 200), (75, 35, 105)),
    "red": ((205, 40, 40), (150, 25, 30), (225, 75, 65)),
    "white": ((250, 250, 250), (232, 232, 230), (245, 240, 228)),
    "yellow": ((245, 205, 50), (240, 225, 120), (215, 180, 45)),
}


class Swatch(NamedTuple):
    """A paint that was mixed for one surface: its basic colour and its shade in 0–255."""

    name: str
    rgb: RGB


def mix(a: RGB, b: RGB, amount: float) -> RGB:
    """Return the colour that lies ``amount`` (0 to 1) of the way from ``a`` to ``b``."""
    return (a[0] + (b[0] - a[0]) * amount, a[1] + (b[1] - a[1]) * amount, a[2] + (b[2] - a[2]) * amount)


def scaled(rgb: RGB, gain: float) -> RGB:
    """Return a colour made brighter (``gain`` > 1) or darker, clipped to 0–255."""
    return (min(rgb[0] * gain, 255.0), min(rgb[1] * gain, 255.0), min(rgb[2] * gain, 255.0))


def contrast(a: RGB, b: RGB) -> float:
    """Return how far two colours are apart: 0 for equal, 1 for black on white; luminance counts double."""
    d = (a[0] - b[0], a[1] - b[1], a[2] - b[2])
    light = 0.3 * d[0] + 0.59 * d[1] + 0.11 * d[2]
    square = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) / 3
    return float(((square + light * light) / 2) ** 0.5 / 255)


def jitter(rgb: RGB, dice: Dice, amount: float = 14.0) -> RGB:
    """Return the colour with each channel moved by up to ``amount``, within 0–255."""
    return (
        min(max(rgb[0] + dice.uniform(-amount, amount), 0.0), 255.0),
        min(max(rgb[1] + dice.uniform(-amount, amount), 0.0), 255.0),
        min(max(rgb[2] + dice.uniform(-amount, amount), 0.0), 255.0),
    )


def draw_swatch(dice: Dice, against: tuple[RGB, ...], least: float = 0.3, tries: int = 8) -> Swatch:
    """Draw a paint at random that stands out against other colours.

    The draw knows nothing of the object it is for, so colour tells nothing about class.

    Args:
        dice: source of randomness.
        against: colours to stand out from.
        least: smallest :func:`contrast` that is taken at once; else the best of ``tries`` draws is taken.
        tries: number of draws at most.
    """
    best, best_contrast = Swatch("white", PAINTS["white"]), -1.0
    for _ in range(tries):
        name = dice.choice(_PAINT_NAMES)
        rgb = jitter(PAINTS[name], dice)
        worst = min((contrast(rgb, colour) for colour in against), default=1.0)
        if worst > best_contrast:
            best, best_contrast = Swatch(name, rgb), worst
        if worst >= least:
            break
    return best


def _lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert sRGB in 0–255, ``[..., 3]``, to CIE Lab (D65)."""
    unit = rgb / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    light = 116 * root[..., 1] - 16
    return np.stack([light, 500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])], axis=-1)


@cache
def _name_table() -> NDArray[np.uint16]:
    """Concept number of every colour at 5 bits per channel, ``[32 * 32 * 32]``."""
    weight = np.array([0.8, 1.0, 1.0])
    focus = np.array([rgb for name in COLOR_NAMES for rgb in _FOCI[name]])
    number = np.array([NUMBER["color", f"{name}-c"] for name in COLOR_NAMES for _ in _FOCI[name]])
    axis = np.arange(32) * 8 + 4.0
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    points, foci = _lab(grid) * weight, _lab(focus) * weight
    squared = (points**2).sum(1)[:, None] - 2 * points @ foci.T + (foci**2).sum(1)
    table: NDArray[np.uint16] = number[squared.argmin(1)].astype(np.uint16)
    return table


def name_colors(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the concept number of each pixel's basic colour term.

    Args:
        image: uint8 ``[H, W, 3]``.

    Returns:
        uint16 ``[H, W]``; every pixel has a colour, so 0 does not occur.
    """
    bins = (image >> 3).astype(np.int64)
    table = _name_table()
    numbers: NDArray[np.uint16] = table[(bins[..., 0] << 10) | (bins[..., 1] << 5) | bins[..., 2]]
    return numbers
