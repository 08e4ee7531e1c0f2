"""Threat models: norm balls around the image, always intersected with the box [0, 1]."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.mask import within_mask
from lightning_advinterp.core.randomness import normal, uniform

Norm = Literal["linf", "l2"]
_START_STREAM = 0x7374617274  # "start"
_RADIUS_STREAM = 0x726164697573  # "radius"


def l2_norm(x: Tensor) -> Tensor:
    """Euclidean norm of every sample, ``[B, …] -> [B, 1, 1, 1]``."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.dim())), keepdim=True)
    return norm


@dataclass(frozen=True)
class ThreatModel(ABC):
    """The set S(x) of inputs that an attack may return.

    Attributes:
        budget: the radius ε of the ball.
    """

    budget: Budget

    @abstractmethod
    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """Return the point of S(x) nearest to ``x_adv`` (``[B, C, H, W]``).

        ``radius`` is ``[B, 1, 1, 1]``, or ``[B, 1, H, W]`` with 0 at the pixels that a mask holds.
        """

    @abstractmethod
    def random_start(self, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Return a random point of S(x), drawn uniformly from the ball before it is cut to the box."""


@dataclass(frozen=True)
class Linf(ThreatModel):
    """‖x* − x‖∞ ≤ ε."""

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """Clamp to [x − ε, x + ε] and to [0, 1]."""
        return torch.clamp(x_adv, (x - radius).clamp_(min=0), (x + radius).clamp_(max=1))

    def random_start(self, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Draw every pixel from U(−ε, ε)."""
        noise = uniform(keys, x.shape[1:], stream=_START_STREAM).mul_(2).sub_(1)
        return self.project(x + noise.to(x.dtype) * radius, x, radius)


@dataclass(frozen=True)
class GaussianLinf(Linf):
    """‖x* − x‖∞ ≤ ε, with a start near the image: x + σ·N(0, 1) (Zhang et al. 2019, TRADES).

    Attributes:
        sigma: σ, in pixels of the [0, 1] range.
    """

    sigma: float = 0.001

    def random_start(self, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Draw every pixel from N(0, σ²)."""
        return self.project(x + self.sigma * normal(keys, x.shape[1:], stream=_START_STREAM).to(x.dtype), x, radius)


@dataclass(frozen=True)
class SignNoiseLinf(Linf):
    """‖x* − x‖∞ ≤ ε, with a start at x + α·sign(N(0, 1)) (Tramèr et al. 2018, RAND+FGSM).

    Attributes:
        share: α in units of ε.
    """

    share: float = 0.5

    def random_start(self, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Draw every pixel from {−α, α}."""
        signs = normal(keys, x.shape[1:], stream=_START_STREAM).sign().to(x.dtype)
        return self.project(x + signs * (self.share * radius), x, radius)


@dataclass(frozen=True)
class NoisyLinf(ThreatModel):
    """The box alone, with a start up to ``noise`` ε away: x* may leave the ε-ball (de Jorge et al. 2022, N-FGSM).

    Attributes:
        noise: k, the start's reach in units of ε; a step of length ε then ends within (k + 1) ε.
    """

    noise: float = 2.0

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """Clamp to [0, 1]."""
        return (x + within_mask(x_adv - x, radius)).clamp(0, 1) if radius.shape[2:] != (1, 1) else x_adv.clamp(0, 1)

    def random_start(self, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Draw every pixel from U(−kε, kε)."""
        noise = uniform(keys, x.shape[1:], stream=_START_STREAM).mul_(2).sub_(1)
        return self.project(x + noise.to(x.dtype) * (self.noise * radius), x, radius)


@dataclass(frozen=True)
class L2(ThreatModel):
    """‖x* − x‖₂ ≤ ε over all pixels and channels of an image."""

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """Shrink the perturbation to length ε, then clamp to [0, 1] (which only shortens it)."""
        delta = within_mask(x_adv - x, radius)
        length = l2_norm(delta).clamp(min=1e-12)
        return (x + delta * (radius / length).clamp(max=1)).clamp_(0, 1)

    def random_start(self, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Draw uniformly from the ball: a normal direction, and the radius ε·u^(1/d)."""
        direction = within_mask(normal(keys, x.shape[1:], stream=_START_STREAM), radius)
        free = (radius > 0).expand(-1, 1, *x.shape[2:]).flatten(1).sum(1).clamp(min=1)  # dimensions of the ball
        share = uniform(keys, (1, 1, 1), stream=_RADIUS_STREAM) ** (1 / (x.shape[1] * free))[:, None, None, None]
        delta = direction / l2_norm(direction).clamp(min=1e-12) * share * radius
        return self.project(x + delta.to(x.dtype), x, radius)


THREATS: dict[str, type[ThreatModel]] = {"linf": Linf, "l2": L2}
