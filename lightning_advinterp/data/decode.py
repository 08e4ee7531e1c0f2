"""Open an image file and decode it to RGB, with one clear error for whatever is wrong with the file."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError)


class BadImageError(ValueError):
    """An image file that is missing, empty, truncated or not an image."""


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open an image without decoding its pixels (that is :func:`to_rgb`'s job); close it at the end.

    Raises:
        BadImageError: the file cannot be read or is not an image.
    """
    try:
        image = Image.open(path)
    except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
        raise BadImageError(_message(path, error)) from error
    with image:
        yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened image to 8-bit RGB: greyscale, 16-bit, palette, alpha and CMYK included.

    Alpha is dropped, not blended, and EXIF rotation is not applied, as in torchvision's loader.

    Raises:
        BadImageError: the pixel data are damaged; names the file.
    """
    path = getattr(image, "filename", "") or "image"
    try:
        image.load()
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
        elif image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        return image if image.mode == "RGB" else image.convert("RGB")
    except _DECODER_ERRORS as error:
        raise BadImageError(_message(path, error)) from error


def _message(path: str | Path, error: Exception) -> str:
    reason = str(error) or type(error).__name__
    return f"cannot read image {str(path)!r}: {reason}; replace the file, or set on_bad_image='skip'"
