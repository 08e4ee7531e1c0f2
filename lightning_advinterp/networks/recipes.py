"""How images were prepared for the networks that weights come from."""

from dataclasses import dataclass, replace
from typing import Any

from lightning_advinterp.networks.network import IMAGENET_MEAN, IMAGENET_STD

HALF = (0.5, 0.5, 0.5)
NONE = ((0.0,), (1.0,))
"""Mean and std of pixels that stay as they are, for any number of channels."""


@dataclass(frozen=True)
class Recipe:
    """Preparation of an image: resize its short side, cut the centre, then (inside the network) normalise.

    Attributes:
        mean: per channel, of pixels in [0, 1].
        std: likewise.
        input_size: side of the square cut out.
        resize: length of the short side before the cut.
        interpolation: ``bilinear``, ``bicubic``, … of the resize.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    input_size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"

    def at(self, input_size: int) -> "Recipe":
        """Return the recipe for another side, the resize in proportion."""
        if input_size == self.input_size:
            return self
        return replace(self, input_size=input_size, resize=round(self.resize * input_size / self.input_size))


def from_torchvision(transforms: Any) -> Recipe:
    """Read the preset that torchvision's weights carry."""
    return Recipe(
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        input_size=transforms.crop_size[0],
        resize=transforms.resize_size[0],
        interpolation=transforms.interpolation.value,
    )


def from_timm(config: Any) -> Recipe:
    """Read timm's ``pretrained_cfg`` (a dict, or an object with the same attributes)."""
    values = config if isinstance(config, dict) else vars(config)
    size = int(values["input_size"][-1])
    return Recipe(
        mean=tuple(values["mean"]),
        std=tuple(values["std"]),
        input_size=size,
        resize=int(size / (values.get("crop_pct") or 0.875)),
        interpolation=values.get("interpolation") or "bilinear",
    )
