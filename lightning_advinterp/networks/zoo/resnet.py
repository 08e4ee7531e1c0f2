"""ResNets for 32×32 images with ImageNet's numbers of channels, plain and pre-activated."""

from functools import partial

import torch
from torch import Tensor, nn

from lightning_advinterp.networks.zoo.stages import chain


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the block's output."""
        maps = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        output: Tensor = self.relu2(maps + self.shortcut(x))
        return output


class Bottleneck(nn.Module):
    """A 1×1, a 3×3 and a 1×1 convolution, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.conv1 = nn.Conv2d(inputs, narrow, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(narrow, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the block's output."""
        maps = self.relu1(self.bn1(self.conv1(x)))
        maps = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(maps)))))
        output: Tensor = self.relu3(maps + self.shortcut(x))
        return output


class PreActBlock(nn.Module):
    """Two 3×3 convolutions, each behind a BatchNorm and a ReLU.

    Args:
        inputs: channels.
        outputs: channels.
        stride: of the first convolution and of the shortcut.
        late_shortcut: the shortcut starts behind the first ReLU, not at the block's input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, late_shortcut: bool = False) -> None:
        super().__init__()
        self.late_shortcut = late_shortcut
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the block's output."""
        active: Tensor = self.relu1(self.bn1(x))
        changed = len(self.shortcut) > 0
        shortcut = self.shortcut(active if self.late_shortcut else x) if changed else x
        output: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(active)))) + shortcut
        return output


class SmallImageResNet(nn.Module):
    """ResNet-18, -34 or -50 for 32×32 images: a 3×3 stem without pooling.

    Args:
        depth: 18, 34 or 50.
        num_classes: number of logits.
    """

    def __init__(self, depth: int = 18, num_classes: int = 10) -> None:
        super().__init__()
        counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}.get(depth)
        if counts is None:
            raise ValueError(f"depth must be 18, 34 or 50, got {depth}.")
        block, factor = (Bottleneck, 4) if depth == 50 else (BasicBlock, 1)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.layer1 = chain(block, 64, 64 * factor, counts[0], 1)
        self.layer2 = chain(block, 64 * factor, 128 * factor, counts[1], 2)
        self.layer3 = chain(block, 128 * factor, 256 * factor, counts[2], 2)
        self.layer4 = chain(block, 256 * factor, 512 * factor, counts[3], 2)
        self.linear = nn.Linear(512 * factor, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 3, 32, 32]`` (or a multiple of 8) to logits ``[B, K]``."""
        maps = self.layer4(self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x)))))))
        logits: Tensor = self.linear(torch.flatten(nn.functional.adaptive_avg_pool2d(maps, 1), 1))
        return logits


class PreActResNet(nn.Module):
    """The pre-activation ResNet-18 for 32×32 images.

    Args:
        num_classes: number of logits.
        last_norm: a BatchNorm and a ReLU before the average; the first published version has none.
        late_shortcut: as in :class:`PreActBlock`.

    Reference:
        He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016.
    """

    def __init__(self, num_classes: int = 10, last_norm: bool = False, late_shortcut: bool = False) -> None:
        super().__init__()
        block = partial(PreActBlock, late_shortcut=late_shortcut)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.layer1 = chain(block, 64, 64, 2, 1)
        self.layer2 = chain(block, 64, 128, 2, 2)
        self.layer3 = chain(block, 128, 256, 2, 2)
        self.layer4 = chain(block, 256, 512, 2, 2)
        self.last_norm = last_norm
        if last_norm:
            self.bn = nn.BatchNorm2d(512)
            self.relu = nn.ReLU()
        self.linear = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 3, 32, 32]`` (or a multiple of 8) to logits ``[B, K]``."""
        maps = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.last_norm:
            maps = self.relu(self.bn(maps))
        logits: Tensor = self.linear(torch.flatten(nn.functional.adaptive_avg_pool2d(maps, 1), 1))
        return logits
