"""Surfaces: the patterns that give textures, and the fine relief and gloss that give materials."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

GLOSS: dict[str, float] = {
    "ceramic": 0.9, "glass": 0.8, "metal": 0.8, "plastic": 0.6, "painted": 0.2, "skin": 0.35, "rubber": 0.15,
}  # fmt: skip
"""Strength of a material's highlight, 0 (matt, the default) to 1."""


def _part(t: Floats) -> Floats:
    """Return the fractional part."""
    return t - np.floor(t)


def _chequered(u: Floats, v: Floats, noise: Floats) -> Mask:
    return np.asarray((_part(u * 0.8) < 0.5) ^ (_part(v * 0.8) < 0.5))


def _dotted(u: Floats, v: Floats, noise: Floats) -> Mask:
    return (_part(u) - 0.5) ** 2 + (_part(v) - 0.5) ** 2 < 0.1


def _flecked(u: Floats, v: Floats, noise: Floats) -> Mask:
    return noise > 0.66


def _grid(u: Floats, v: Floats, noise: Floats) -> Mask:
    return (_part(u) < 0.22) | (_part(v) < 0.22)


def _marbled(u: Floats, v: Floats, noise: Floats) -> Mask:
    return _part(u * 0.5 + 2.2 * noise) < 0.35


def _striped(u: Floats, v: Floats, noise: Floats) -> Mask:
    return _part(u) < 0.5


def _woven(u: Floats, v: Floats, noise: Floats) -> Mask:
    over = (_part(u * 0.5) < 0.5) ^ (_part(v * 0.5) < 0.5)
    return np.where(over, _part(u * 1.5) < 0.5, _part(v * 1.5) < 0.5)


def _zigzagged(u: Floats, v: Floats, noise: Floats) -> Mask:
    return _part(v + np.abs(_part(u * 0.8) - 0.5)) < 0.5


PATTERNS: dict[str, Callable[[Floats, Floats, Floats], Mask]] = {
    "chequered": _chequered,
    "dotted": _dotted,
    "flecked": _flecked,
    "grid": _grid,
    "marbled": _marbled,
    "striped": _striped,
    "woven": _woven,
    "zigzagged": _zigzagged,
}
"""Pattern of a texture: from coordinates that count its repeats, and a smooth noise in [0, 1], to a mask."""


NOISY = ("flecked", "marbled")
"""Textures whose pattern uses the noise."""


def relief(material: str, x: Floats, y: Floats, low: Floats, fine: Floats) -> Floats | None:
    """Return how a material's fine structure brightens or darkens it.

    Args:
        material: its name.
        x: float32 ``[1, W]``, position in the picture in [0, 1].
        y: float32 ``[H, 1]``, likewise.
        low: float32 ``[H, W]``, smooth noise around 0, within [-0.5, 0.5].
        fine: float32 ``[H, W]``, grainy noise, likewise.

    Returns:
        float32, broadcasts to ``[H, W]``, to add to a gain of 1, or None for a smooth material.
    """
    if material == "wood":
        return _floats(0.09 * np.sin(46 * y + 16 * low + 3 * x) + 0.05 * fine)
    if material in ("fur", "feather"):
        return _floats(0.2 * fine + 0.07 * np.sin(40 * x + 24 * y + 12 * low))
    if material == "fabric":
        return _floats(0.06 * np.sin(90 * x) * np.sin(90 * y) + 0.04 * fine)
    if material == "foliage":
        return _floats(0.2 * fine + 0.24 * low)
    if material in ("sand", "snow"):
        return _floats(0.07 * fine + 0.08 * low)
    if material in ("soil", "asphalt", "stone"):
        return _floats(0.12 * fine + 0.2 * low)
    if material == "water":
        return _floats(0.05 * np.sin(75 * y + 5 * low + 3 * np.sin(9 * x)) + 0.12 * low)
    if material == "brick":
        course = y * 20
        mortar = (_part(course) < 0.22) | (_part(x * 9 + 0.5 * (np.floor(course) % 2)) < 0.12)
        return _floats(np.where(mortar, 0.16, 0.16 * fine - 0.04))
    if material == "skin":
        return _floats(0.08 * np.sin(60 * (x + y)) * np.sin(60 * (x - y)))
    if material == "metal":
        return _floats(0.05 * np.sin(9 * y + 3 * x))
    return None


def _floats(values: NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(values, dtype=np.float32)
