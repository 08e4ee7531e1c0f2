"""Steps: from the gradient of an attack's objective to a move of the image."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.threat import l2_norm
from lightning_advinterp.core.randomness import normal

_ZERO_STREAM = 0x7A65726F  # "zero"
_SIGN_STREAM = 0x7369676E  # "sign"


class Move:
    """One run of a step over a batch: called once per iteration, it may remember earlier gradients."""

    def __init__(self, step: "Step") -> None:
        self.step = step

    def __call__(self, gradient: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Return the move uphill, ``[B, C, H, W]``, for the objective's gradient of that shape."""
        return self.step.direction(gradient, keys) * self.step.length(radius)

    def ahead(self, radius: Tensor) -> Tensor | None:
        """Return how far from the image the gradient is taken, ``[B, C, H, W]``; None: at the image itself."""
        return None

    def take(self, indices: Tensor) -> None:
        """Forget all samples of the batch but these."""


@dataclass(frozen=True)
class Step(ABC):
    """One move uphill.

    Attributes:
        size: its length, in pixels of the [0, 1] range, or in units of ε where ``relative``.
        relative: whether ``size`` is a multiple of every sample's own ε.
        climbs: whether the gradient decides the direction.
    """

    size: float
    relative: bool = False

    climbs: ClassVar[bool] = True

    def scaled(self, share: float) -> Self:
        """Return the step for a radius multiplied by ``share``; a relative one follows by itself."""
        return self if self.relative else replace(self, size=self.size * share)

    def length(self, radius: Tensor) -> Tensor:
        """Return every sample's step length, ``[B, 1, 1, 1]``."""
        return self.size * radius if self.relative else torch.full_like(radius, self.size)

    def start(self) -> Move:
        """Return what makes the moves of one run."""
        return Move(self)

    @abstractmethod
    def direction(self, gradient: Tensor, keys: Tensor) -> Tensor:
        """Return the direction of a move, ``[B, C, H, W]``."""


@dataclass(frozen=True)
class SignStep(Step):
    """α·sign(∇): the steepest ascent in the L∞ norm. sign(0) = 0 leaves a pixel where it is."""

    def direction(self, gradient: Tensor, keys: Tensor) -> Tensor:
        """Return the gradient's sign."""
        return gradient.sign()


@dataclass(frozen=True)
class RandomSignStep(Step):
    """α·sign(N(0, 1)) of every value, whatever the gradient: the control of attacks on explanations."""

    climbs: ClassVar[bool] = False

    def direction(self, gradient: Tensor, keys: Tensor) -> Tensor:
        """Return random signs."""
        return normal(keys, gradient.shape[1:], stream=_SIGN_STREAM).sign().to(gradient.dtype)


@dataclass(frozen=True)
class NormalisedStep(Step):
    """α·∇/‖∇‖₂: the steepest ascent in the L2 norm. A zero gradient takes a random direction."""

    def direction(self, gradient: Tensor, keys: Tensor) -> Tensor:
        """Return the gradient at length 1."""
        length = l2_norm(gradient)
        # To ask an accelerator whether there is one waits for it, and there the noise costs next to nothing.
        if gradient.device.type != "cpu" or bool((length == 0).any()):
            noise = normal(keys, gradient.shape[1:], stream=_ZERO_STREAM).to(gradient.dtype)
            gradient = torch.where(length == 0, noise, gradient)
            length = l2_norm(gradient)
        return gradient / length


@dataclass(frozen=True)
class MomentumStep(SignStep):
    """α·sign(g) with g ← μ g + ∇/‖∇‖₁ (Dong et al. 2018, Boosting Adversarial Attacks with Momentum, Eq. 6–7).

    The authors' code divides by the mean of |∇| instead of its sum, which is the same direction.

    Attributes:
        decay: μ; 0 makes it a :class:`SignStep`.
    """

    decay: float = 1.0

    def start(self) -> Move:
        """Return moves that remember g."""
        return MomentumMove(self)


class MomentumMove(Move):
    """The moves of one run with momentum; ``velocity`` is g, None before the first move."""

    step: MomentumStep

    def __init__(self, step: MomentumStep) -> None:
        super().__init__(step)
        self.velocity: Tensor | None = None

    def __call__(self, gradient: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Return α·sign(g), and remember g."""
        total = gradient.abs().sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
        past = 0 if self.velocity is None else self.step.decay * self.velocity
        self.velocity = past + gradient / total
        return super().__call__(self.velocity, radius, keys)

    def take(self, indices: Tensor) -> None:
        """Forget all samples of the batch but these."""
        if self.velocity is not None:  # there is none before the first move
            self.velocity = self.velocity[indices]


@dataclass(frozen=True)
class AdamStep(Step):
    """α·m̂/(√v̂ + s), with running means of ∇ and ∇² (Kingma & Ba 2015), uphill.

    Attributes:
        betas: decay rates of the two means.
        stabiliser: s, in the unit of the gradient: 1e-8 for 0–255 pixels is 255e-8 for pixels in [0, 1].
    """

    betas: tuple[float, float] = (0.9, 0.999)
    stabiliser: float = 1e-8

    def start(self) -> Move:
        """Return moves that remember both means."""
        return _Adam(self)

    def direction(self, gradient: Tensor, keys: Tensor) -> Tensor:
        """Return the first move's direction."""
        return gradient / (gradient.abs() + self.stabiliser)


class _Adam(Move):
    step: AdamStep

    def __init__(self, step: AdamStep) -> None:
        super().__init__(step)
        self._count = 0
        self._mean: Tensor | None = None
        self._square: Tensor | None = None

    def __call__(self, gradient: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        self._count += 1
        first, second = self.step.betas
        mean = torch.zeros_like(gradient) if self._mean is None else self._mean
        square = torch.zeros_like(gradient) if self._square is None else self._square
        self._mean = mean.lerp(gradient, 1 - first)
        self._square = second * square + (1 - second) * gradient.square()
        scale = (self._square / (1 - second**self._count)).sqrt() + self.step.stabiliser
        return self._mean / (1 - first**self._count) / scale * self.step.length(radius)

    def take(self, indices: Tensor) -> None:
        if self._mean is not None and self._square is not None:  # there are none before the first move
            self._mean, self._square = self._mean[indices], self._square[indices]
