"""From a PIL image to a square uint8 tensor: random crops for training, resize and centre crop otherwise."""

import math
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_advinterp.data.decode import to_rgb

Interpolation = Literal["bilinear", "bicubic"]
MOST_RESIZED = 2**24
"""Pixels of a resized image, above which only the part that is cropped is made: 1 x 20,000 pixels would take 4 GB."""

_PIL_FILTER = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class ImageTransform(Protocol):
    """What a data set applies to an opened (not yet decoded) image; random draws come from ``generator``."""

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Tensor:
        """Return uint8 ``[3, S, S]``."""
        ...


class EvalTransform:
    """Shorter side to ``resize`` (antialiased), then the centre ``crop`` × ``crop``.

    Pixel for pixel what torchvision's evaluation does with a PIL image.

    Args:
        resize: length of the shorter side in pixels after resizing.
        crop: side of the square that is cut out of the centre; at most ``resize``.
        interpolation: filter of the resizing.
    """

    def __init__(self, resize: int = 256, crop: int = 224, interpolation: Interpolation = "bilinear") -> None:
        if crop < 1:
            raise ValueError(f"crop must be at least 1 pixel, got {crop}")
        if crop > resize:
            raise ValueError(
                f"crop must be at most resize (the shorter side), got crop={crop} and resize={resize}; "
                f"set resize to {crop} or more"
            )
        self.resize, self.crop = resize, crop
        self.interpolation = _checked_interpolation(interpolation)

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> Tensor:
        """Return uint8 ``[3, crop, crop]``; deterministic, ``generator`` is not used."""
        image = to_rgb(image)
        short = min(image.size)
        size = (int(self.resize * image.width / short), int(self.resize * image.height / short))
        left, top = round((size[0] - self.crop) / 2), round((size[1] - self.crop) / 2)
        if size[0] * size[1] > MOST_RESIZED:
            return _to_tensor(self._central(image, size, left, top))
        if size != image.size:
            image = image.resize(size, _PIL_FILTER[self.interpolation])
        return _to_tensor(image.crop((left, top, left + self.crop, top + self.crop)))

    def _central(self, image: Image.Image, size: tuple[int, int], left: int, top: int) -> Image.Image:
        """Resize only what the crop shows, for very long images; Pillow may round differently on the way."""
        x, y = image.width / size[0], image.height / size[1]
        right, bottom = min(image.width, (left + self.crop) * x), min(image.height, (top + self.crop) * y)
        part = (left * x, top * y, right, bottom)
        return image.resize((self.crop, self.crop), _PIL_FILTER[self.interpolation], box=part)

    def __repr__(self) -> str:
        return f"EvalTransform(resize={self.resize}, crop={self.crop}, interpolation={self.interpolation!r})"


class TrainTransform:
    """A random part of the image, resized to a square, and flipped half of the time (Inception style).

    Large JPEG files are decoded at 1/2, 1/4 or 1/8 of their size where the crop stays at least as large as
    the output (libjpeg's scaled decoding), which saves time at no visible loss.

    Args:
        size: side of the output square in pixels.
        scale: least and greatest share of the image's area, in (0, 1].
        ratio: least and greatest aspect ratio of the part.
        flip: probability of a left-right flip.
        interpolation: filter of the resizing (antialiased).
    """

    def __init__(
        self,
        size: int = 224,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be shares of the area, 0 < low <= high <= 1, got {scale}")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio must be width / height, 0 < low <= high, got {ratio}")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip must be a probability in [0, 1], got {flip}")
        self.size, self.scale, self.ratio, self.flip = size, scale, ratio, flip
        self.interpolation = _checked_interpolation(interpolation)

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Tensor:
        """Return uint8 ``[3, size, size]``; all draws come from ``generator``."""
        full = image.size
        left, top, width, height = random_box(full, self.scale, self.ratio, generator)
        flipped = bool(torch.rand(1, generator=generator) < self.flip)
        _decode_smaller(image, min(width, height) // self.size)
        image = to_rgb(image)
        x, y = image.width / full[0], image.height / full[1]
        part = (left * x, top * y, (left + width) * x, (top + height) * y)
        tensor = _to_tensor(image.resize((self.size, self.size), _PIL_FILTER[self.interpolation], box=part))
        return tensor.flip(-1) if flipped else tensor

    def __repr__(self) -> str:
        return f"TrainTransform(size={self.size}, scale={self.scale}, ratio={self.ratio}, flip={self.flip})"


def random_box(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Draw the part of an image that torchvision's ``RandomResizedCrop`` would draw from the same generator.

    Args:
        size: width and height of the image.
        scale: range of the share of the area.
        ratio: range of the aspect ratio, drawn uniformly in its logarithm.
        generator: source of the draws.

    Returns:
        (left, top, width, height), inside the image.
    """
    full_width, full_height = size
    log_low, log_high = torch.log(torch.tensor(ratio)).tolist()
    for _ in range(10):
        area = full_width * full_height * torch.empty(1).uniform_(*scale, generator=generator).item()
        aspect = torch.exp(torch.empty(1).uniform_(log_low, log_high, generator=generator)).item()
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= full_width and 0 < height <= full_height:
            top = int(torch.randint(0, full_height - height + 1, (1,), generator=generator))
            left = int(torch.randint(0, full_width - width + 1, (1,), generator=generator))
            return left, top, width, height
    return _central_box(size, ratio)


def _central_box(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """Return the largest central box whose aspect ratio is allowed (the fallback for very long images)."""
    width, height = size
    if width / height < ratio[0]:
        height = round(width / ratio[0])
    elif width / height > ratio[1]:
        width = round(height * ratio[1])
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height


def _decode_smaller(image: Image.Image, factor: int) -> None:
    """Ask the JPEG decoder for an image up to ``factor`` times smaller; other formats decode in full."""
    if factor >= 2:
        image.draft("RGB", (image.width // factor, image.height // factor))


def _to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _checked_interpolation(name: Interpolation) -> Interpolation:
    if name not in _PIL_FILTER:
        raise ValueError(f"interpolation must be one of {sorted(_PIL_FILTER)}, got {name!r}")
    return name
