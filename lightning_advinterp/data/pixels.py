"""From grey pixels of more than 8 bits to 8 bits, by what the file's format says of black and white."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIXTEEN_BITS = ("PNG", "PPM")  # Pillow opens 16-bit files of these as 32-bit integers, scaled to 0–65,535
_BITS_PER_SAMPLE = 258


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Return a loaded image of mode I, I;16 or F as 8-bit grey.

    16 bits keep their upper 8, and a TIFF of 9 to 15 bits the upper 8 of these. Floats go from 0 to 1, or from 0 to
    255. 32-bit integers say nothing about white: up to 255 they are taken as they are.

    Raises:
        ValueError: values outside of these ranges, which would be clipped to black or white.
    """
    pixels = np.asarray(image)
    if image.mode == "F":
        return Image.fromarray(_from_floats(pixels))
    if image.mode != "I":
        return Image.fromarray((pixels.astype(np.uint16) >> _surplus_bits(image)).astype(np.uint8))
    low, high = int(pixels.min()), int(pixels.max())
    if image.format in _SIXTEEN_BITS and low >= 0 and high < 2**16:
        return Image.fromarray((pixels >> 8).astype(np.uint8))
    if low >= 0 and high < 2**8:
        return Image.fromarray(pixels.astype(np.uint8))
    raise ValueError(
        f"its 32-bit integers from {low} to {high} do not say what is black and white; save it with 8 or 16 bits"
    )


def _from_floats(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 255):  # also where there is a NaN
        raise ValueError(
            f"its floating-point pixels must lie in [0, 1] or in [0, 255], got {low:g} to {high:g}; save it with 8 or "
            "16 bits"
        )
    scale = 255.0 if high <= 1 else 1.0
    return np.round(pixels.astype(np.float64) * scale).astype(np.uint8)


def _surplus_bits(image: Image.Image) -> int:
    """Return how many bits lie below the upper 8; a TIFF may use less than all 16."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    return min(max(int(np.ravel(bits)[0]), 8), 16) - 8
