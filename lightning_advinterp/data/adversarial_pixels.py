"""One image of a set of adversarial images as the bytes of a file: PNG, or a NumPy array just as the attack made it."""

import io
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_advinterp.data.adversarial_parts import Manifest
from lightning_advinterp.data.decode import open_image

ENDINGS = {"uint8": "png", "float32": "npy"}
"""Of files' names, by how images are kept."""


def pixel_bytes(image: np.ndarray[Any, Any]) -> bytes:
    """Return ``[C, H, W]`` as the bytes of a PNG, or of an array where it is no uint8."""
    file = io.BytesIO()
    if image.dtype == np.uint8:
        Image.fromarray(image.transpose(1, 2, 0)).save(file, format="png")
    else:
        np.save(file, image, allow_pickle=False)
    return file.getvalue()


def pixels_in(file: IO[bytes], manifest: Manifest) -> Tensor:
    """Return ``[C, H, W]``, if it is of the manifest's shape and kind; uint8, or float32 in [0, 1]."""
    channels, height, width = manifest.shape
    if manifest.pixels == "float32":
        content = file.read(4 * channels * height * width + 1024)  # more is no image of this shape
        pixels = torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))
        if pixels.dtype != torch.float32 or pixels.shape != manifest.shape:
            raise ValueError(f"it holds {pixels.dtype} of shape {tuple(pixels.shape)}")
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise ValueError("its pixels leave [0, 1]")
        return pixels
    with open_image(file, ("PNG",)) as image:
        if image.size != (width, height):  # before its pixels are decoded
            raise ValueError(f"it has {image.size} pixels")
        pixels = torch.from_numpy(np.array(image))
        if pixels.dtype != torch.uint8 or pixels.shape != (height, width, 3):
            raise ValueError(f"it has the mode {image.mode}")
    return pixels.permute(2, 0, 1)
