"""First layers for small images, in place of the ImageNet stem of torchvision's ResNets."""

from typing import Literal

from torch import nn
from torchvision import models
from torchvision.models.resnet import ResNet

from lightning_advinterp.networks.sources import torchvision_names

Stem = Literal["small", "medium"]

STEM_SIZES = {"small": 32, "medium": 64}
"""The input side that each stem is made for; either way the last stage sees 4×4."""


def replace_stem(backbone: nn.Module, stem: str) -> None:
    """Exchange the 7×7 convolution and the max-pool of a torchvision ResNet, ResNeXt or Wide ResNet.

    ``small`` (32 px): a 3×3 convolution of stride 1 and no max-pool, as is usual for CIFAR. ``medium`` (64
    px): the same convolution, and the max-pool stays, so the stages see the sizes that ``small`` gives at 32
    px while the filters see every pixel at full resolution.

    Raises:
        ValueError: if the stem or the family is another.
    """
    if stem not in STEM_SIZES:
        raise ValueError(f"stem must be {' or '.join(STEM_SIZES)} (or left out), got {stem!r}.")
    if not isinstance(backbone, ResNet):
        kind = type(backbone)  # timm's is called ResNet, too
        raise ValueError(
            f"stem={stem!r} is made for torchvision's ResNets, got {kind.__module__}.{kind.__name__}; leave it out, "
            "or take resnet18, resnet50, … or cifar_resnet20."
        )
    conv = nn.Conv2d(3, backbone.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    backbone.conv1 = conv
    if stem == "small":
        backbone.maxpool = nn.Identity()  # type: ignore[assignment]


def takes_stem(name: str) -> bool:
    """Whether the architecture of this name is one of torchvision's ResNets, which alone take such a stem."""
    if name not in torchvision_names():
        return False
    builder = models.get_model_builder(name)  # type: ignore[attr-defined]
    return bool(builder.__module__ == "torchvision.models.resnet")
