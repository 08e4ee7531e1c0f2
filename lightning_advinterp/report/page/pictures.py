"""Pictures inside the page: figures and small versions of stored images, as data URIs."""

import base64
import io
from pathlib import Path

from PIL import Image

_LARGE = 150_000
"""Bytes; a larger PNG is a sheet of photographs, which WebP holds in a tenth."""
_WIDEST = 1200
_THUMBNAIL = 72
"""Pixels."""


def figure_uri(path: Path) -> str:
    """Return a figure for the page: small PNGs as they are, larger ones as WebP of at most 1,200 pixels' width."""
    content = path.read_bytes()
    if len(content) <= _LARGE:
        return _uri(content, "png")
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        picture = image.convert("RGB")
    if picture.width > _WIDEST:
        picture = picture.resize((_WIDEST, round(picture.height * _WIDEST / picture.width)), Image.Resampling.LANCZOS)
    return _uri(_webp(picture, 55), "webp")


def thumbnail_uri(path: Path) -> str:
    """Return a stored image, at most 72 pixels wide and high."""
    with Image.open(path, formats=["PNG"]) as image:
        picture = image.convert("RGB")
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    return _uri(_webp(picture, 70), "webp")


def _webp(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=quality, method=4)
    return buffer.getvalue()


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
