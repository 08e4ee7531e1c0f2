"""Steps: from the gradient of an attack's objective to a move of the image."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from lightning_advinterp.attacks.threat import l2_norm
from lightning_advinterp.randomness import normal

_ZERO_STREAM = 0x7A65726F  # "zero"


@dataclass(frozen=True)
class Step(ABC):
    """One move uphill.

    Attributes:
        size: its length, in pixels of the [0, 1] range, or in units of ε where ``relative``.
        relative: whether ``size`` is a multiple of every sample's own ε.
    """

    size: float
    relative: bool = False

    def scaled(self, share: float) -> Self:
        """Return the step for a radius multiplied by ``share``; a relative one follows by itself."""
        return self if self.relative else replace(self, size=self.size * share)

    def length(self, radius: Tensor) -> Tensor:
        """Return every sample's step length, ``[B, 1, 1, 1]``."""
        return self.size * radius if self.relative else torch.full_like(radius, self.size)

    @abstractmethod
    def __call__(self, gradient: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Return the move, ``[B, C, H, W]``, for the objective's gradient of that shape."""


@dataclass(frozen=True)
class SignStep(Step):
    """α·sign(∇): the steepest ascent in the L∞ norm. sign(0) = 0 leaves a pixel where it is."""

    def __call__(self, gradient: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Move every pixel by α against or along its gradient's sign."""
        return gradient.sign() * self.length(radius)


@dataclass(frozen=True)
class NormalisedStep(Step):
    """α·∇/‖∇‖₂: the steepest ascent in the L2 norm. A zero gradient takes a random direction."""

    def __call__(self, gradient: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Move the image by the length α along its gradient."""
        length = l2_norm(gradient)
        if bool((length == 0).any()):
            noise = normal(keys, gradient.shape[1:], stream=_ZERO_STREAM).to(gradient.dtype)
            gradient = torch.where(length == 0, noise, gradient)
            length = l2_norm(gradient)
        return gradient / length * self.length(radius)
