"""Open an image file and decode it to RGB, with one clear error for whatever is wrong with the file.

What a file is shows in its content, never in its name: an EPS called ``.png`` is no image, since Pillow would hand it
to an interpreter. Only the formats of :data:`FORMATS` are tried, and only regular files are opened.
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from PIL import Image, UnidentifiedImageError

from lightning_advinterp.data.pixels import to_eight_bits

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF", "GIF", "AVIF")
"""What is decoded; AVIF where Pillow can. Of an animation it is the first picture."""

MOST_PIXELS = 2**27
"""Largest image: 134 million pixels, 400 MB once decoded."""

MOST_SCANS, MOST_SCANNED = 20, 2**30
"""A progressive JPEG of more scans is decoded only if scans times pixels stay below the second number."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
)


class BadImageError(ValueError):
    """An image file that is missing, empty, truncated or not an image."""


@contextmanager
def open_image(file: str | Path | IO[bytes], formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """Open an image without decoding its pixels (that is :func:`to_rgb`'s job); close it at the end.

    Args:
        file: a path, or an open binary file.
        formats: the formats that it may have.

    Raises:
        BadImageError: the file cannot be read, is no regular file, is not an image of these formats, or has too many
            pixels.
    """
    path = file if isinstance(file, str | Path) else getattr(file, "name", "image")
    try:
        if isinstance(file, str | Path):
            _check_regular(file)
        image = Image.open(file, formats=_readable(tuple(formats)))
    except Image.DecompressionBombError as error:
        raise BadImageError(_message(path, ValueError(f"it has more than {MOST_PIXELS:,} pixels"))) from error
    except UnidentifiedImageError as error:
        reason = f"its content is no image of the formats {', '.join(formats)}, or is damaged"
        raise BadImageError(_message(path, ValueError(reason))) from error
    except _DECODER_ERRORS as error:
        raise BadImageError(_message(path, error)) from error
    with image:
        if image.width * image.height > MOST_PIXELS:
            reason = f"its {image.width:,} x {image.height:,} pixels are more than {MOST_PIXELS:,}"
            raise BadImageError(_message(path, ValueError(reason)))
        yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened image to 8-bit RGB: greyscale, 16-bit, float, palette, alpha and CMYK included.

    Alpha is dropped, not blended, and EXIF rotation is not applied, as in torchvision's loader (see :func:`upright`).

    Raises:
        BadImageError: the pixel data are damaged, or their range says neither what is black nor what is white; names
            the file.
    """
    path = getattr(image, "filename", "") or "image"
    try:
        _check_scans(image)
        image.load()
        if image.mode.startswith("I") or image.mode == "F":
            image = to_eight_bits(image)
        elif image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode in ("La", "RGBa"):  # alpha is multiplied in, and Pillow takes it out only on the way to these
            image = image.convert(image.mode.upper())
        return image if image.mode == "RGB" else image.convert("RGB")
    except (*_DECODER_ERRORS, Image.DecompressionBombError) as error:
        raise BadImageError(_message(path, error)) from error


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1, which is upright, where it says none."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data are no reason to lose the pixels, and parsers raise what they like
        return 1
    return value if value in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """Decode an image to RGB and turn it as its EXIF orientation says.

    Raises:
        BadImageError: as :func:`to_rgb`.
    """
    turn = _TURNS.get(orientation(image))
    rgb = to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


@cache
def _readable(formats: tuple[str, ...]) -> tuple[str, ...]:
    """Return those formats that this Pillow knows."""
    Image.init()
    return tuple(name for name in formats if name in Image.OPEN)


def _check_regular(path: str | Path) -> None:
    """Refuse what would block or never end when it is read."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise ValueError(f"it is {kinds.get(stat.S_IFMT(mode), 'a device')}, no file")


def _check_scans(image: Image.Image) -> None:
    """Refuse a small progressive JPEG that takes minutes: each of its scans passes over all pixels."""
    file: Any = getattr(image, "fp", None)
    if not image.info.get("progressive") or file is None:
        return
    place = file.tell()
    file.seek(0)
    scans = 0
    while block := file.read(1 << 20):
        scans += block.count(b"\xff\xda")  # a start of scan; inside of data, 0xff is followed by 0
    file.seek(place)
    if scans > MOST_SCANS and scans * image.width * image.height > MOST_SCANNED:
        raise ValueError(f"{scans} scans over {image.width} x {image.height} pixels are too many; save it anew")


def _message(path: str | Path, error: Exception) -> str:
    reason = str(error) or type(error).__name__
    return f"cannot read image {str(path)!r}: {reason}; replace the file, or set on_bad_image='skip'"
