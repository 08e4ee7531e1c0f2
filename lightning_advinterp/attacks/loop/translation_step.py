"""Steps that many shifted copies of an image agree on (Dong, Pang, Su & Zhu 2019)."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.attacks.loop.step import MomentumMove, MomentumStep

RADIUS = 3.0
"""How many standard deviations of the Gaussian lie between the kernel's middle and its border, as in the paper."""


@lru_cache(maxsize=8)
def gaussian_kernel(length: int) -> Tensor:
    """Return a Gaussian cut at :data:`RADIUS` standard deviations, float64 ``[length]`` of sum 1."""
    if length < 1 or length % 2 == 0:
        raise ValueError(f"kernel must be an odd number of pixels, 1 or more, got {length}.")
    density = torch.linspace(-RADIUS, RADIUS, length, dtype=torch.float64).square().div(-2).exp()
    return density / density.sum() if length > 1 else torch.ones(1, dtype=torch.float64)


@dataclass(frozen=True)
class TranslationInvariantStep(MomentumStep):
    """α·sign(g) with g ← μ g + W∗∇/‖W∗∇‖₁: W∗∇ is the mean gradient of shifted images, weighted by a Gaussian W.

    For a network that sees shifted images alike, the gradient at a shifted image is the shifted gradient, so that one
    convolution stands for as many passes as W has places (Eq. 6 of the paper). Beyond the border the gradient counts
    as zero.

    Attributes:
        kernel: W's side in pixels, odd; 15 in the paper.
    """

    kernel: int = 15

    def start(self) -> MomentumMove:
        """Return moves that smooth the gradient first."""
        return _SmoothedMove(self)

    def smoothed(self, gradient: Tensor) -> Tensor:
        """Return W∗∇ of every channel by itself, ``[B, C, H, W]``."""
        line = gaussian_kernel(self.kernel).to(gradient)
        channels, half = gradient.shape[1], self.kernel // 2
        down = line.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
        across = line.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
        lines = F.conv2d(gradient, down, padding=(half, 0), groups=channels)
        return F.conv2d(lines, across, padding=(0, half), groups=channels)


class _SmoothedMove(MomentumMove):
    step: TranslationInvariantStep

    def __call__(self, gradient: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        return super().__call__(self.step.smoothed(gradient), radius, keys)
