import os
import socket
import struct
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from lightning_advinterp.data import decode as module
from lightning_advinterp.data.broden.maps import read_map
from lightning_advinterp.data.decode import BadImageError, open_image, orientation, to_rgb, upright


def decode(path: Path) -> np.ndarray:
    with open_image(path) as image:
        rgb = to_rgb(image)
        assert rgb.mode == "RGB"
        return np.asarray(rgb)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "jpg"), ("L", "png"), ("1", "png"), ("LA", "png"), ("RGBA", "png"), ("P", "png"), ("CMYK", "jpg")],
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str):
    path = tmp_path / f"image.{suffix}"
    picture(0).convert(mode).save(path)
    pixels = decode(path)
    assert pixels.shape == (32, 40, 3)
    assert np.array_equal(pixels, np.asarray(Image.open(path).convert("RGB")))


def test_palette_with_transparency(tmp_path: Path):
    path = tmp_path / "image.png"
    image = picture(0).convert("P")
    image.save(path, transparency=bytes([0, 128, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(decode(path), np.asarray(image.convert("RGB")))


def test_16_bit_greyscale_keeps_its_range(tmp_path: Path):
    path = tmp_path / "image.png"
    ramp = np.linspace(0, 65535, 40 * 32).astype(np.uint16).reshape(32, 40)
    Image.fromarray(ramp).save(path)
    assert np.array_equal(decode(path)[..., 0], ramp >> 8)


def bad_files(folder: Path) -> dict[str, Path]:
    whole_jpg, whole_png = folder / "whole.jpg", folder / "whole.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for path in (whole_jpg, whole_png):
        Image.fromarray(noise).save(path)
    files = {
        "empty.jpg": b"",
        "text.jpg": b"<html>404</html>",
        "truncated.jpg": whole_jpg.read_bytes()[: whole_jpg.stat().st_size // 2],
        "truncated.png": whole_png.read_bytes()[: whole_png.stat().st_size // 2],
        "damaged.png": whole_png.read_bytes()[:60] + bytes(200) + whole_png.read_bytes()[260:],
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


@pytest.mark.parametrize("name", ["empty.jpg", "text.jpg", "truncated.jpg", "truncated.png", "damaged.png"])
def test_bad_file_is_named(tmp_path: Path, name: str):
    path = bad_files(tmp_path)[name]
    with pytest.raises(BadImageError, match=rf"cannot read image '.*{name}': .*on_bad_image='skip'"):
        decode(path)


def test_missing_file(tmp_path: Path):
    with pytest.raises(BadImageError, match=r"cannot read image '.*absent.jpg'"):
        decode(tmp_path / "absent.jpg")


RAMP = np.linspace(0, 65535, 40 * 32).astype(np.uint16).reshape(32, 40)


def write_tiff(path: Path, pixels: np.ndarray, bits: int) -> None:
    """A minimal TIFF of grey integers, which Pillow cannot write at 9 to 15 bits; 12 bits are packed."""
    flat = pixels.flatten()
    if bits == 12:
        first, second = flat[::2].astype(np.uint32), flat[1::2].astype(np.uint32)
        packed = (first << 12) | second
        data = np.stack([packed >> 16, packed >> 8, packed], 1).astype(np.uint8).tobytes()
    else:
        data = flat.tobytes()
    tags = {256: pixels.shape[1], 257: pixels.shape[0], 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: len(pixels)}
    tags[279] = len(data)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    ifd = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + ifd)


@pytest.mark.parametrize("kind", ["pgm16", "pgm12", "tiff16", "tiff12", "float1", "float255", "int8", "pfm"])
def test_grey_of_more_than_8_bits_keeps_its_range(tmp_path: Path, kind: str):
    path = tmp_path / "image.tif"
    if kind == "pgm16":
        path.write_bytes(b"P5 40 32 65535\n" + RAMP.astype(">u2").tobytes())
    elif kind == "pgm12":
        path.write_bytes(b"P5 40 32 4095\n" + (RAMP >> 4).astype(">u2").tobytes())
    elif kind == "tiff12":
        write_tiff(path, RAMP >> 4, 12)
    elif kind == "pfm":
        path.write_bytes(b"Pf\n40 32\n-1.0\n" + (RAMP[::-1] / 65535).astype("<f4").tobytes())
    else:
        pixels = {
            "tiff16": RAMP,
            "float1": (RAMP / 65535).astype(np.float32),
            "float255": (RAMP / 257).astype(np.float32),
            "int8": (RAMP >> 8).astype(np.int32),
        }[kind]
        Image.fromarray(pixels).save(path)
    assert np.abs(decode(path).astype(int) - (RAMP >> 8).astype(int)[..., None]).max() <= 1  # floats are rounded


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (RAMP.astype(np.int32), "32-bit integers from 0 to 65535 do not say what is black"),
        (RAMP.astype(np.int32) - 7, "from -7 to 65528"),
        (RAMP.astype(np.float32), r"must lie in \[0, 1\] or in \[0, 255\], got 0 to 65535"),
        (RAMP.astype(np.float32) - 0.5, "got -0.5"),
        (np.full((4, 4), np.nan, np.float32), "got nan to nan"),
        (np.full((4, 4), np.inf, np.float32), "got inf"),
    ],
)
def test_values_without_black_and_white_are_refused(tmp_path: Path, pixels: np.ndarray, message: str):
    Image.fromarray(pixels).save(tmp_path / "image.tif")
    with pytest.raises(BadImageError, match=message):
        decode(tmp_path / "image.tif")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("name", ["image.png", "image.jpg", "image.tiff"])
@pytest.mark.parametrize("content", [EPS, b"%PDF-1.4\n", b"8BPS\0\1" + bytes(40), b"<svg></svg>"])
def test_content_decides_not_the_name(tmp_path: Path, name: str, content: bytes):
    """Pillow would start Ghostscript for an EPS."""
    (tmp_path / name).write_bytes(content)
    for reader in (decode, read_map):
        with pytest.raises(BadImageError, match="its content is no image of the formats JPEG, PNG"):
            reader(tmp_path / name)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG"])
def test_a_wrong_name_hides_no_image(tmp_path: Path, kind: str):
    picture(0).save(tmp_path / "image.jpg", format=kind)
    assert decode(tmp_path / "image.jpg").shape == (32, 40, 3)


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a socket"])
def test_what_is_no_regular_file_is_never_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = Path("image.png")
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.close()
    caught: list[Exception] = []

    def read() -> None:
        try:
            decode(path)
        except BadImageError as error:
            caught.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(5)
    assert f"it is {kind}, no file" in str(caught[0])


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    with pytest.raises(BadImageError, match=r"bomb.png': .*more than 134,217,728"):
        decode(tmp_path / "bomb.png")
    monkeypatch.setattr(module, "MOST_PIXELS", 1000)
    picture(0).save(tmp_path / "image.png")
    with pytest.raises(BadImageError, match="its 40 x 32 pixels are more than 1,000"):
        decode(tmp_path / "image.png")


def test_too_many_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A progressive JPEG may repeat a scan as often as it likes, each as long as the whole image."""
    path = tmp_path / "image.jpg"
    picture(0).save(path, progressive=True)
    usual = decode(path)
    content = path.read_bytes()
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    path.write_bytes(content[:end] + content[start:end] * 200 + content[end:])
    assert decode(path).shape == usual.shape  # so few pixels take no time
    monkeypatch.setattr(module, "MOST_SCANNED", 1000)
    with pytest.raises(BadImageError, match="scans over 40 x 32 pixels are too many"):
        decode(path)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_orientation(tmp_path: Path, turn: int, suffix: str):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = turn
    picture(0).save(tmp_path / f"image.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    with open_image(tmp_path / f"image.{suffix}") as image:
        assert orientation(image) == turn
        stored = np.asarray(to_rgb(image))
        turned = np.asarray(upright(image))
    assert np.array_equal(stored, np.asarray(Image.open(tmp_path / f"image.{suffix}").convert("RGB")))
    with Image.open(tmp_path / f"image.{suffix}") as image:
        assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))


def test_a_label_map_of_16_bits_is_refused(tmp_path: Path):
    """Pillow opens it as 8 bits, by its upper bytes: all numbers would be wrong."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + np.full((4, 3), 7, ">u2").tobytes() for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "map.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(BadImageError, match="expected a label map of 8 bits"):
        read_map(tmp_path / "map.png")
