"""DeepMind's wide and pre-activation ResNets, which most of RobustBench's strongest CIFAR networks are."""

import torch
from torch import Tensor, nn

from lightning_advinterp.networks.zoo.stages import chain
from lightning_advinterp.networks.zoo.wide_resnet import wide_blocks


def same_padding(x: Tensor, stride: int) -> Tensor:
    """Pad for a 3×3 convolution as TensorFlow's ``SAME`` does: with stride 2 on the right and below alone."""
    return nn.functional.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


class WideBlock(nn.Module):
    """A pre-activated block; a 1×1 shortcut behind the first activation where the channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.relu_0 = nn.SiLU()
        self.conv_0 = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.relu_1 = nn.SiLU()
        self.conv_1 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the block's output."""
        active: Tensor = self.relu_0(self.batchnorm_0(x))
        output = self.conv_0(same_padding(active, self.stride))
        output = self.conv_1(self.relu_1(self.batchnorm_1(output)))
        result: Tensor = (x if self.shortcut is None else self.shortcut(active)) + output
        return result


class WideGroup(nn.Module):
    """The blocks of one size; ``block`` is the name that the weights know."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.block = chain(WideBlock, inputs, outputs, blocks, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the last block's output."""
        output: Tensor = self.block(x)
        return output


class DeepMindWideResNet(nn.Module):
    """WRN-depth-width with SiLU (called Swish there) and TensorFlow's padding, for 32×32 images.

    Args:
        depth: 6n + 4.
        width: factor on 16, 32 and 64 channels.
        num_classes: number of logits.

    Reference:
        Gowal et al., Uncovering the Limits of Adversarial Training against Norm-Bounded Adversarial Examples, 2020.
    """

    def __init__(self, depth: int = 28, width: int = 10, num_classes: int = 10) -> None:
        super().__init__()
        blocks, channels = wide_blocks(depth), (16, 16 * width, 32 * width, 64 * width)
        self.init_conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layer = nn.Sequential(*(WideGroup(channels[i], channels[i + 1], blocks, 2 if i else 1) for i in range(3)))
        self.batchnorm = nn.BatchNorm2d(channels[3])
        self.relu = nn.SiLU()
        self.logits = nn.Linear(channels[3], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 3, 32, 32]`` (or a multiple of 4) to logits ``[B, K]``."""
        maps: Tensor = self.relu(self.batchnorm(self.layer(self.init_conv(x))))
        logits: Tensor = self.logits(torch.flatten(nn.functional.adaptive_avg_pool2d(maps, 1), 1))
        return logits


class PreActBlock(nn.Module):
    """A pre-activated block; a 3×3 shortcut from the block's input where the size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.relu_0 = nn.SiLU()
        self.conv_2d_1 = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.relu_1 = nn.SiLU()
        self.conv_2d_2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 3, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the block's output."""
        shortcut = x if self.shortcut is None else self.shortcut(same_padding(x, self.stride))
        output = self.conv_2d_1(same_padding(self.relu_0(self.batchnorm_0(x)), self.stride))
        result: Tensor = self.conv_2d_2(self.relu_1(self.batchnorm_1(output))) + shortcut
        return result


class DeepMindPreActResNet(nn.Module):
    """A pre-activation ResNet-18 or -34 with SiLU and TensorFlow's padding, for 32×32 images.

    Args:
        depth: 18 or 34.
        num_classes: number of logits.

    Reference:
        Rebuffi et al., Fixing Data Augmentation to Improve Adversarial Robustness, 2021.
    """

    def __init__(self, depth: int = 18, num_classes: int = 10) -> None:
        super().__init__()
        if depth not in (18, 34):
            raise ValueError(f"depth must be 18 or 34, got {depth}.")
        counts = (2, 2, 2, 2) if depth == 18 else (3, 4, 6, 3)
        self.conv_2d = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.layer_0 = chain(PreActBlock, 64, 64, counts[0], 1)
        self.layer_1 = chain(PreActBlock, 64, 128, counts[1], 2)
        self.layer_2 = chain(PreActBlock, 128, 256, counts[2], 2)
        self.layer_3 = chain(PreActBlock, 256, 512, counts[3], 2)
        self.batchnorm = nn.BatchNorm2d(512)
        self.relu = nn.SiLU()
        self.logits = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 3, 32, 32]`` (or a multiple of 8) to logits ``[B, K]``."""
        maps = self.layer_3(self.layer_2(self.layer_1(self.layer_0(self.conv_2d(x)))))
        maps = self.relu(self.batchnorm(maps))
        logits: Tensor = self.logits(torch.flatten(nn.functional.adaptive_avg_pool2d(maps, 1), 1))
        return logits
