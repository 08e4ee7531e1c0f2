"""Attacks by optimisation: the distance to the image and the loss in one objective, climbed with Adam."""

import copy
from typing import Any, Literal, Self, get_args

from torch import Tensor, nn

from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.step import Step
from lightning_advinterp.attacks.loop.threat import ThreatModel

Distance = Literal["mean", "sum"]


def squared_distance_255(x_adv: Tensor, x: Tensor, distance: Distance) -> Tensor:
    """Return the mean or the sum of (255·(x* − x))² over the values of every image, ``[B, C, H, W] x 2 -> [B]``."""
    square = (255 * (x_adv - x)).square().flatten(1)
    return square.mean(dim=1) if distance == "mean" else square.sum(dim=1)


class OptimizationAttack(GradientAttack):
    """argmin over x* of d(x*, x) + λ·L(f(x*), y*), or without a target of d(x*, x) − λ·L(f(x*), y).

    These are Eq. 4 and Eq. 2 of Dong, Su & Zhu 2022. The paper solves them with Adam, step 5 and 10 to 20 iterations,
    towards the class least likely at x; ``stop_after=10, steps=20`` is that range: a sample stops at its first success
    from the 10th iteration on. Its numbers are in 0–255 units, in which an image in [0, 1] is 255·x, and so is d here,
    whatever the range of the images. Adam is then the same in both units if its step is 5/255 and its stabiliser
    255·1e-8. After every step the image is clipped to the threat model.

    Departures: d is the mean of the squared differences, so that one λ serves images of every size; ``sum`` is the
    literal ‖x* − x‖₂². The paper gives no λ; :mod:`lightning_advinterp.attacks.prediction.calibration` finds one.

    Args:
        threat: where x* may lie; Eq. 4 knows no ball, which L∞ with ε = 1 is.
        step: how the gradient becomes a move.
        weight: λ, 0 or more.
        distance: ``mean`` or ``sum``.
        **settings: as in :class:`~lightning_advinterp.attacks.loop.gradient.GradientAttack`.
    """

    def __init__(
        self, threat: ThreatModel, step: Step, *, weight: float, distance: Distance = "mean", **settings: Any
    ) -> None:
        super().__init__(threat, step, **settings)
        if distance not in get_args(Distance):
            raise ValueError(f"distance must be one of {', '.join(get_args(Distance))}, got {distance!r}.")
        self.weight, self.distance = check_weight(weight), distance

    @property
    def eps(self) -> float | None:
        """The radius, where it is smaller than the box."""
        high = self.threat.budget.high
        return high if high < 1 else None

    def weighted(self, weight: float) -> Self:
        """Return the same attack with another λ."""
        copied = copy.copy(self)
        copied.weight = check_weight(weight)
        return copied

    def gain(self, logits: Tensor, goal: Goal) -> Tensor:
        """Return λ times the class's part of the objective, ``[B]``; at x itself there is no other part."""
        return self.weight * super().gain(logits, goal)

    def objective(self, network: nn.Module, x_adv: Tensor, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return minus what the equations minimise, ``[B]``, and the logits."""
        gain, logits = super().objective(network, x_adv, x, goal)
        return gain - squared_distance_255(x_adv, x, self.distance), logits


def check_weight(weight: object) -> float:
    """Return λ, if it is one."""
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
        raise ValueError(f"weight must be a finite number, 0 or more, got {weight!r}.")
    return float(weight)
