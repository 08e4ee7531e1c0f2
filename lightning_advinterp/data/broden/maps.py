"""Label maps: one number per pixel, in a PNG as red + 256 · green."""

from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_advinterp.data.decode import BadImageError, open_image, to_rgb

Labels = NDArray[np.int32]

# Palettes and alpha are what PNG optimisers and editors make of RGB without loss. A greyscale file is refused: its
# grey is as likely meant to be the number itself as it is an optimised red = green.
_MODES = ("RGB", "RGBA", "P")


class Segmentation(NamedTuple):
    """The labels of one image.

    Attributes:
        maps: category number to int32 ``[L, Hs, Ws]``, label numbers, 0 = none; L layers, dominant first. A category
            without maps is absent.
        whole: category number to the numbers of the labels that hold for the whole image, dominant first. A category
            without any is absent. Each number stands once, 0 not at all.
    """

    maps: dict[int, Labels]
    whole: dict[int, tuple[int, ...]]


def read_map(file: str | Path | IO[bytes]) -> Labels:
    """Read a label map.

    Args:
        file: path of, or an opened, 8-bit RGB PNG; blue is not looked at.

    Returns:
        int32 ``[H, W]``, numbers from 0 to 65,535.

    Raises:
        BadImageError: the file is missing, damaged, not a PNG or of another kind; names it.
    """
    with open_image(file) as image:
        if image.format != "PNG" or image.mode not in _MODES:
            expected = "expected a label map, an 8-bit RGB PNG (number = red + 256 · green)"
            raise BadImageError(f"{expected}, got {image.format} of mode {image.mode}")
        if "16" in str(
            [tile[3] for tile in getattr(image, "tile", ())]
        ):  # opened as RGB all the same, by its upper bytes
            raise BadImageError("expected a label map of 8 bits (number = red + 256 · green), got 16 bits")
        pixels = np.asarray(to_rgb(image))
    numbers = pixels[..., 1].astype(np.int32)
    numbers <<= 8
    numbers |= pixels[..., 0]
    return numbers


def verify(file: str | Path | IO[bytes]) -> None:
    """Compare the check sums of a PNG, which its decoder ignores once it has all pixels; other formats have none.

    Raises:
        BadImageError: a check sum is wrong, or the end is missing.
    """
    with open_image(file) as image:
        try:
            image.verify()
        except (OSError, SyntaxError, ValueError) as error:
            raise BadImageError(f"the file is damaged: {error}") from error


def map_image(numbers: NDArray[np.integer]) -> Image.Image:
    """Return the RGB image that holds a label map.

    Args:
        numbers: ``[H, W]``, from 0 to 65,535.
    """
    pixels = np.zeros((*numbers.shape, 3), np.uint8)
    pixels[..., 0] = numbers & 255
    pixels[..., 1] = numbers >> 8
    return Image.fromarray(pixels)


def unreadable(path: str, error: BadImageError) -> str:
    """Say that a file below ``images/`` cannot be read, and why."""
    return f"'images/{path}' cannot be read: {error.__cause__ or error}"
