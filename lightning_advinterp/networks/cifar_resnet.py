"""The ResNets for CIFAR-10 of He et al. 2016, section 4.2, with option-A shortcuts."""

import torch
from torch import Tensor, nn

DEPTHS = (20, 32, 44, 56)
"""Depths offered, each 6n + 2."""


class Subsample(nn.Module):
    """Option A, without parameters: every second pixel, and channels of zeros on either side."""

    selects = True

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.pad = extra // 2, extra - extra // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to ``[B, C + extra, H/2, W/2]``."""
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, *self.pad))


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut; one module per use of ReLU."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity() if inputs == channels else Subsample(channels - inputs)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the block's output."""
        out: Tensor = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = self.relu2(out + self.shortcut(x))
        return out


class CifarResNet(nn.Module):
    """A ResNet of 6n + 2 layers for 32×32 images: three stages of n blocks with 16, 32 and 64 channels.

    Module names follow the common public implementation, so that its published weights load.

    Args:
        depth: 6n + 2.
        num_classes: number of logits.

    Reference:
        He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    def __init__(self, depth: int = 20, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2 (20, 32, 44, 56, …), got {depth}.")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 3, 32, 32]`` (or a multiple of 4) to logits ``[B, K]``."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))
        return logits


def _stage(inputs: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(inputs, channels, stride)
    return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(blocks - 1)))
