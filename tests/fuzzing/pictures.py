"""Mutations of pictures: other formats under the same name, absurd sizes, odd modes."""

import io
import struct
import zlib
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image

_EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n"
    b"(EXECUTED) (w) file closefile\nshowpage\n%%EOF\n"
)


def _save(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def _other(data: bytes, rng: Random) -> bytes:
    """Keep the picture, change format, mode or size."""
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    kind = rng.choice(("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "PCX", "ICO"))
    deed = rng.randrange(4)
    if deed == 0:
        image = image.resize((rng.randrange(1, 40), rng.randrange(1, 40)))
    elif deed == 1 and kind in ("PNG", "TIFF", "GIF"):
        image = image.convert(rng.choice(("L", "P", "RGBA", "1", "LA") if kind == "PNG" else ("L",)))
    return _save(image, kind)


def _deep(data: bytes, rng: Random) -> bytes:
    """Sixteen bits, 32-bit integers, floats; also values that are none."""
    values = np.full((16, 16), rng.choice((0, 1, 300, 40000)))
    kind = rng.choice((np.uint16, np.int32, np.float32))
    array = values.astype(kind)
    if kind is np.float32:
        array[0, 0] = rng.choice((np.nan, np.inf, -1e30))
    return _save(Image.fromarray(array), "PNG" if kind is np.uint16 else "TIFF")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _announce(data: bytes, rng: Random) -> bytes:
    """A sound header of a huge picture, before few bytes."""
    side = rng.choice((0, 20_000, 2**31 - 1))
    head = struct.pack(">IIBBBBB", side, rng.choice((side, 1)), 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _text_bomb(data: bytes, rng: Random) -> bytes:
    """A PNG whose compressed comment has 64 MB."""
    with Image.open(io.BytesIO(data)) as opened:
        plain = _save(opened.convert("RGB"), "PNG")
    bomb = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 << 20), 9))
    return plain[:33] + bomb + plain[33:]


PICTURES: dict[str, Callable[[bytes, Random], bytes]] = {
    "other": _other,
    "other2": _other,
    "deep": _deep,
    "announce": _announce,
    "text_bomb": _text_bomb,
    "eps": lambda data, rng: _EPS,
    "svg": lambda data, rng: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
    "pixel": lambda data, rng: _save(Image.new("RGB", (1, 1)), "PNG"),
    "thin": lambda data, rng: _save(Image.new("RGB", (20_000, 1)), "PNG"),
}
"""Of files that are pictures."""
