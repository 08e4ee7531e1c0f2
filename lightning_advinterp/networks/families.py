"""The default feature layer φ of each family: the last convolutional activation before the classifier.

| family | φ | sign |
| --- | --- | --- |
| ResNet, ResNeXt, Wide ResNet (torchvision, timm) | ``layer4`` | after ReLU |
| CIFAR ResNet | ``layer3`` | after ReLU |
| ``robustbench:`` wide ResNets | ``relu`` | after ReLU or SiLU |
| ``robustbench:`` PreActResNet-18 | ``relu``, or ``layer4`` where no BatchNorm follows | after ReLU, or signed |
| AlexNet, VGG | last ReLU of ``features``: 11; VGG-16 29, with BatchNorm 42 | after ReLU |
| SqueezeNet | last Fire module: ``features.12`` | after ReLU |
| Inception v3, GoogLeNet | ``Mixed_7c``, ``inception5b`` | after ReLU |
| DenseNet (torchvision) | ``features.norm5``; the ReLU after it is a function without a name | signed |
| DenseNet (timm) | ``features.norm5``, which ends with its ReLU | after ReLU |
| MobileNet, EfficientNet (torchvision) | last part of ``features`` | ReLU6; others signed |
| MNASNet, ShuffleNet, RegNet | ``layers.16``, ``conv5``, ``trunk_output`` | after ReLU |
| ResNet v2 (timm) | ``norm`` | after ReLU |
| ConvNeXt | last stage: ``features.7``, timm ``stages.3`` | signed |
| MaxViT | last block, ``blocks.3`` | signed |
| ViT | ``encoder.layers``, timm ``blocks``: tokens ``[B, N, D]``, not maps | signed |
| Swin (torchvision) | ``permute``: maps with the channels first | signed |
| Swin (timm) | last stage, ``layers.3``: maps with the channels last, ``[B, H, W, C]`` | signed |
| other timm networks | the last of ``feature_info`` that is a map, channels first or last | – |
| anything else | the last module that returns a map ``[B, C, H, W]`` with more than one place | – |
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lightning_advinterp.networks.dry import dry_forward
from lightning_advinterp.networks.sites import layer_names
from lightning_advinterp.networks.taps import backbone_of

_BY_CLASS = {
    "Inception3": "Mixed_7c",
    "InceptionV3": "Mixed_7c",
    "GoogLeNet": "inception5b",
    "DenseNet": "features.norm5",
    "MNASNet": "layers.16",
    "ShuffleNetV2": "conv5",
    "CifarResNet": "layer3",
    "RegNet": "trunk_output",
    "ResNetV2": "norm",
    "WideResNet": "relu",
    "DeepMindWideResNet": "relu",
    "DeepMindPreActResNet": "relu",
    "PreActResNet": "relu",  # where it has a last BatchNorm; else layer4
}
_BY_ATTRIBUTES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("encoder.layers", "encoder.ln"), "encoder.layers"),  # torchvision's ViT
    (("conv_head", "bn2", "blocks"), "bn2"),  # timm's EfficientNet and MobileNetV2; V3 has no bn2
    (("features", "permute"), "permute"),  # torchvision's Swin
    (("layer1", "layer2", "layer3", "layer4"), "layer4"),
)


def default_phi(network: nn.Module, *, channels: int = 3, input_size: int | None = None) -> str | None:
    """Return the path of the default feature layer, or None where there is none that makes sense.

    Args:
        network: a :class:`~lightning_advinterp.networks.network.Network`, or a bare backbone.
        channels: of the input.
        input_size: side of the image with which an unknown network is tried; 224, or the network's own.
    """
    backbone = backbone_of(network)
    size = input_size or getattr(network, "input_size", None)
    phi = known_phi(backbone)
    if phi is not None:
        return phi
    first, last = _last_maps(backbone, channels, int(size) if isinstance(size, int) else 224)
    declared = declared_features(backbone)
    if declared is not None:
        return declared if declared in {*first, *last} else None
    return next(reversed(first), None)


def known_phi(backbone: nn.Module) -> str | None:
    """Return φ of a known family, by the backbone's class and attributes."""
    names = set(layer_names(backbone))
    by_class = _BY_CLASS.get(type(backbone).__name__)
    if by_class in names:
        return by_class
    if {"patch_embed", "blocks", "norm"} <= names and hasattr(backbone, "pos_embed"):
        return "blocks"  # timm's ViT
    for attributes, phi in _BY_ATTRIBUTES:
        if names.issuperset(attributes):
            return phi
    features = getattr(backbone, "features", None)
    return _last_feature(features) if isinstance(features, nn.Sequential) else None


def _last_feature(features: nn.Sequential) -> str | None:
    """Return the last ReLU of plain layers (AlexNet, VGG), else the last part of a sequence of blocks."""
    parts = dict(features.named_children())
    if any(isinstance(part, nn.Conv2d) for part in list(parts.values())[1:]):
        rectified = [name for name, part in parts.items() if isinstance(part, nn.ReLU)]
        return f"features.{rectified[-1]}" if rectified else None
    blocks = [name for name, part in parts.items() if any(True for _ in part.parameters())]
    return f"features.{blocks[-1]}" if blocks else None


def declared_features(backbone: nn.Module) -> str | None:
    """Return the last feature layer that a timm network declares, whatever the order of its axes."""
    info: Any = getattr(backbone, "feature_info", None)
    entries = list(info) if isinstance(info, list | tuple) else []
    last = entries[-1] if entries else None
    return str(last["module"]) if isinstance(last, Mapping) and "module" in last else None


def _last_maps(backbone: nn.Module, channels: int, size: int) -> tuple[list[str], list[str]]:
    """Return the modules that return maps, as they finish, with channels first and with channels last.

    There are none where a forward pass fails.
    """
    maps: dict[bool, dict[str, None]] = {False: {}, True: {}}
    features = getattr(backbone, "num_features", None)

    def note(path: str, output: Any) -> None:
        if not isinstance(output, Tensor) or output.dim() != 4:
            return
        shape = tuple(output.shape)
        channels_last = shape[3] == features != shape[1]
        height, width = shape[1:3] if channels_last else shape[2:]
        if height * width > 1:
            maps[channels_last].pop(path, None)
            maps[channels_last][path] = None

    try:
        dry_forward(backbone, channels, size, note)
    except Exception:  # a network of its own kind of input: its layers can still be named by hand
        return [], []
    return list(maps[False]), list(maps[True])
