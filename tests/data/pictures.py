"""Small random images for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

MakeFolder = Callable[..., Path]


def picture(seed: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """A random, smooth RGB image of (width, height) ``size``."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
