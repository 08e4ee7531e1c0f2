"""Layers of timm that are two in one: convolutions that pad as TensorFlow does, BatchNorm with its activation."""

from torch import Tensor, nn
from torch.nn import functional as F


def is_same_convolution(module: nn.Module) -> bool:
    """Whether a module is timm's ``Conv2dSame``, whose padding depends on the size of its input."""
    if not _is_of_timm(module):
        return False
    from timm.layers import Conv2dSame  # type: ignore[attr-defined]  # timm's networks alone need timm

    return type(module) is Conv2dSame


def pad_same(x: Tensor, module: nn.Conv2d) -> Tensor:
    """Return maps ``[B, C, H, W]`` padded so that a convolution of stride s has ⌈H/s⌉ x ⌈W/s⌉ outputs.

    Where the padding is odd, the larger part is at the bottom and at the right.

    Args:
        x: the maps.
        module: whose kernel, stride and dilation hold.
    """
    (top, bottom), (left, right) = same_padding(x, module)
    return F.pad(x, (left, right, top, bottom))


def same_padding(x: Tensor, module: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return how many rows are added above and below, and how many columns left and right; see :func:`pad_same`."""
    pairs: list[tuple[int, int]] = []
    for axis in range(2):
        length, kernel, stride = x.shape[axis - 2], module.kernel_size[axis], int(module.stride[axis])
        outputs = -(-length // stride)
        total = max((outputs - 1) * stride + (kernel - 1) * int(module.dilation[axis]) + 1 - length, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs[0], pairs[1]


def activation_of_norm(module: nn.Module | None) -> nn.Module | None:
    """Return the activation that timm's ``BatchNormAct2d`` ends with; None for any other module."""
    if module is None or not _is_of_timm(module):
        return None
    from timm.layers import BatchNormAct2d  # type: ignore[attr-defined]  # timm's networks alone need timm

    if type(module) is not BatchNormAct2d or type(module.drop) is not nn.Identity:
        return None
    activation: nn.Module = module.act
    return activation


def _is_of_timm(module: nn.Module) -> bool:
    return type(module).__module__.startswith("timm.")
