import warnings
from pathlib import Path

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from lightning_advinterp.data.decode import BadImageError, open_image, to_rgb


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
