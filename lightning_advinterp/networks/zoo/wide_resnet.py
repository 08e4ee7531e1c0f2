"""The wide ResNet of TRADES, as most CIFAR networks of RobustBench have it."""

import torch
from torch import Tensor, nn

from lightning_advinterp.networks.zoo.stages import chain


class Block(nn.Module):
    """Two 3×3 convolutions, each behind a BatchNorm and a ReLU; a 1×1 shortcut where the channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.convShortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the block's output; the shortcut starts behind the first ReLU where it is a layer."""
        active: Tensor = self.relu1(self.bn1(x))
        output: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return output + (x if self.convShortcut is None else self.convShortcut(active))


class Group(nn.Module):
    """The blocks of one size; ``layer`` is the name that the weights know."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.layer = chain(Block, inputs, outputs, blocks, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the last block's output."""
        output: Tensor = self.layer(x)
        return output


class WideResNet(nn.Module):
    """WRN-depth-width for 32×32 images.

    Some published files also hold ``sub_block1``, a group that no forward pass uses; it is left out here.

    Args:
        depth: 6n + 4.
        width: factor on 16, 32 and 64 channels.
        num_classes: number of logits.

    References:
        Zagoruyko, Komodakis, Wide Residual Networks, BMVC 2016; names of layers as in the code of Zhang et al.,
        Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019.
    """

    def __init__(self, depth: int = 28, width: int = 10, num_classes: int = 10) -> None:
        super().__init__()
        blocks = wide_blocks(depth)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = Group(16, 16 * width, blocks, 1)
        self.block2 = Group(16 * width, 32 * width, blocks, 2)
        self.block3 = Group(32 * width, 64 * width, blocks, 2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(64 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 3, 32, 32]`` (or a multiple of 4) to logits ``[B, K]``."""
        maps: Tensor = self.relu(self.bn1(self.block3(self.block2(self.block1(self.conv1(x))))))
        logits: Tensor = self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(maps, 1), 1))
        return logits


def wide_blocks(depth: int) -> int:
    """Return the number of blocks in each of the three groups.

    Raises:
        ValueError: if there is no wide ResNet of this depth.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth must be 6n + 4 (16, 28, 34, 70, …), got {depth}.")
    return (depth - 4) // 6
