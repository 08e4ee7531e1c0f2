"""The pure function of the concept world: from a number to a labelled picture."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_advinterp.data.concept_world.compose import compose, label_of
from lightning_advinterp.data.concept_world.develop import develop, label_layers, oversampling
from lightning_advinterp.data.concept_world.vocabulary import NUMBER

RENDER_VERSION = 1
"""Raised whenever the same (seed, index, size) gives other bytes than before."""


class Rendering(NamedTuple):
    """A labelled picture.

    Attributes:
        image: uint8 ``[size, size, 3]``, RGB.
        label: class index in ``CLASSES``.
        layers: uint16 ``[size, size]`` maps of concept numbers for color, texture, material, part and object;
            part has two layers (an eye, and the head it belongs to), the others one; 0 is unlabelled.
        scene: concept number of the scene, which holds for the whole picture.
    """

    image: NDArray[np.uint8]
    label: int
    layers: dict[str, list[NDArray[np.uint16]]]
    scene: int


def _check(index: int, seed: int, size: int) -> None:
    if index < 0:
        raise ValueError(f"index must be 0 or more, got {index}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if not 16 <= size <= 1024:
        raise ValueError(f"size must be in [16, 1024] pixels, got {size}")


def render(index: int, *, seed: int = 0, size: int = 64) -> Rendering:
    """Render picture ``index`` with all its labels.

    The picture depends on the arguments alone, and its composition on ``(seed, index)`` alone: another size
    shows the same things in finer or coarser pixels.

    Args:
        index: number of the picture, 0 or more.
        seed: number of the world, 0 or more.
        size: width and height in pixels, 16 to 1024.
    """
    _check(index, seed, size)
    picture = compose(index, seed, size * oversampling(size))
    image = develop(picture, size)
    return Rendering(image, picture.label, label_layers(picture, image), NUMBER["scene", f"{picture.scene}-s"])


def render_image(index: int, *, seed: int = 0, size: int = 64) -> NDArray[np.uint8]:
    """Render picture ``index`` without its label layers: the ``image`` of :func:`render`, faster."""
    _check(index, seed, size)
    return develop(compose(index, seed, size * oversampling(size)), size)


def label_for(index: int, *, seed: int = 0) -> int:
    """Return the class index of picture ``index`` without rendering it."""
    _check(index, seed, 64)
    return label_of(index, seed)
