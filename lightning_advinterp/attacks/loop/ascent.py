"""What Auto-PGD remembers of a run, and how it sets its step size (Croce & Hein 2020, Algorithm 1)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.mask import within_mask
from lightning_advinterp.attacks.loop.threat import ThreatModel, l2_norm
from lightning_advinterp.attacks.prediction.untargeted import AttackedImages, Samples
from lightning_advinterp.core.randomness import normal, uniform

RHO = 0.75
"""ρ: a smaller share of rising steps between two checkpoints halves the step size."""
_START_STREAM = 0x61706764  # "apgd"


def checkpoints(steps: int) -> list[int]:
    """Return w_j = ⌈p_j·steps⌉, the iterations after which the step size is reconsidered.

    p_0 = 0, p_1 = 0.22 and p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06), counted in hundredths, so that no
    rounding decides a ceiling.

    Example:
        >>> checkpoints(100)
        [22, 41, 57, 70, 80, 87, 93, 99]
    """
    before, now, found = 0, 22, []
    while now <= 100:
        found.append(-(-now * steps // 100))
        before, now = now, now + max(now - before - 3, 6)
    return list(dict.fromkeys(found))


def random_start(threat: ThreatModel, norm: str, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
    """Return a random point of the ball's surface (before it is cut to the box), as in the authors' code.

    L∞: uniform noise scaled to a largest entry of ε. L2: a random direction of length ε.
    """
    if norm == "linf":
        noise = within_mask(uniform(keys, x.shape[1:], stream=_START_STREAM).to(x.dtype) * 2 - 1, radius)
        noise = noise / noise.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    else:
        noise = within_mask(normal(keys, x.shape[1:], stream=_START_STREAM).to(x.dtype), radius)
        noise = noise / l2_norm(noise).clamp(min=1e-12)
    return threat.project(x + radius * noise, x, radius)


@dataclass
class Ascent(Samples):
    """The samples that climb, after one evaluation at ``x_adv``; every tensor is ``[B, …]``.

    Attributes:
        x: the clean images.
        x_adv: x^(k).
        previous: x^(k−1).
        gradient: ∇f(x^(k)), before the first step and after every one but the last.
        best: x_max, the point of the highest objective.
        best_gradient: ∇f(x_max).
        best_value: f_max.
        best_margin: margin at x_max.
        value: f(x^(k)).
        step_size: η, ``[B, 1, 1, 1]``.
        rises: how many steps since the last checkpoint raised the objective.
        value_then: f_max at the last checkpoint.
        halved_then: whether the last checkpoint halved η.
        radius: ε, ``[B, 1, 1, 1]``.
        label: int64, the class to move away from.
        target: int64, the class to move to, for the targeted loss.
        keys: int64.
        index: int64, each sample's place in the batch that began.
    """

    x: Tensor
    x_adv: Tensor
    previous: Tensor
    gradient: Tensor
    best: Tensor
    best_gradient: Tensor
    best_value: Tensor
    best_margin: Tensor
    value: Tensor
    step_size: Tensor
    rises: Tensor
    value_then: Tensor
    halved_then: Tensor
    radius: Tensor
    label: Tensor
    target: Tensor
    keys: Tensor
    index: Tensor

    @classmethod
    def at(cls, start: Tensor, attacked: AttackedImages, target: Tensor) -> "Ascent":
        """Return the state before the first evaluation, at ``start``; η = 2ε."""
        lowest = torch.full_like(start[:, 0, 0, 0], -torch.inf)
        return cls(
            x=attacked.x,
            x_adv=start,
            previous=start,
            gradient=start,
            best=start,
            best_gradient=start,
            best_value=lowest,
            best_margin=lowest,
            value=lowest,
            step_size=2 * attacked.radius,
            rises=torch.zeros_like(attacked.label),
            value_then=lowest,
            halved_then=torch.zeros_like(attacked.label, dtype=torch.bool),
            radius=attacked.radius,
            label=attacked.label,
            target=target,
            keys=attacked.keys,
            index=torch.arange(len(start), device=start.device),
        )

    def evaluated(self, value: Tensor, margins: Tensor, gradient: Tensor) -> None:
        """Take in f, the margin and ∇f at ``x_adv``; a better point than the best replaces it."""
        self.rises = self.rises + (value > self.value)
        self.value, self.gradient = value, gradient
        better = value > self.best_value
        wide = better[:, None, None, None]
        self.best = torch.where(wide, self.x_adv, self.best)
        self.best_gradient = torch.where(wide, gradient, self.best_gradient)
        self.best_value = torch.where(better, value, self.best_value)
        self.best_margin = torch.where(better, margins, self.best_margin)

    def reconsider(self, since: int) -> None:
        """Halve η and go back to x_max where one of the conditions holds, ``since`` steps after the last time.

        1. Fewer than ρ·since of these steps raised f. 2. η was not halved last time, and f_max is what it was.
        """
        stuck = ~self.halved_then & (self.best_value <= self.value_then)
        halve = (self.rises < RHO * since) | stuck
        wide = halve[:, None, None, None]
        self.step_size = torch.where(wide, self.step_size / 2, self.step_size)
        self.x_adv = torch.where(wide, self.best, self.x_adv)
        self.gradient = torch.where(wide, self.best_gradient, self.gradient)
        self.value = torch.where(halve, self.best_value, self.value)
        self.halved_then, self.value_then, self.rises = halve, self.best_value, torch.zeros_like(self.rises)
