"""Attacks that look for the nearest success by a search over the weight of their loss (Carlini & Wagner 2017)."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack, AttackResult, distances
from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.loop.gradient_log import GradientLog

_MOST = 1e10  # weight that stands for "no success with any so far" in a last repeat


@dataclass
class Nearest:
    """The nearest success of every sample so far.

    Attributes:
        images: ``[B, C, H, W]``; the image itself where there is none.
        norms: ``[B]``, of the change; inf where there is none.
        successes: bool ``[B]``, whether the present weight has had any.
    """

    images: Tensor
    norms: Tensor
    successes: Tensor

    def put(self, at: Tensor, points: Tensor, norms: Tensor, reached: Tensor) -> None:
        """Take in points of the samples ``at``, int64 ``[b]``, that reached their goal and are nearer."""
        self.successes[at[reached]] = True
        nearer = reached & (norms < self.norms[at])
        self.images[at[nearer]], self.norms[at[nearer]] = points[nearer], norms[nearer]


class WeightSearch(Attack):
    """The outer loop: a descent for each c, with a c of its own for every image.

    c becomes ten times larger while nothing was found, else the mean of the largest failure and the smallest success.

    Args:
        steps: iterations of one descent.
        search_steps: steps of the search over c. From 10 on, the last one repeats the smallest successful c.
        initial_weight: the first c.
        step_size: of a descent.
        confidence: κ, by how much the goal must be exceeded, in units of logits.
        abort_early: end a descent that has not gained 0.01 % in a tenth of the iterations.
        **common: as in :class:`~lightning_advinterp.attacks.loop.attack.Attack`.
    """

    def __init__(
        self,
        *,
        steps: int = 1000,
        search_steps: int = 9,
        initial_weight: float = 1e-3,
        step_size: float = 1e-2,
        confidence: float = 0.0,
        abort_early: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        for argument, count in (("steps", steps), ("search_steps", search_steps)):
            if count < 1:
                raise ValueError(f"{argument} must be 1 or more, got {count}.")
        for argument, number in (("initial_weight", initial_weight), ("step_size", step_size)):
            if not 0 < number < math.inf:
                raise ValueError(f"{argument} must be a finite number above 0, got {number}.")
        if not 0 <= confidence < math.inf:
            raise ValueError(f"confidence must be a finite number, 0 or more, got {confidence}.")
        self.steps, self.search_steps, self.initial_weight = steps, search_steps, initial_weight
        self.step_size, self.confidence, self.abort_early = step_size, confidence, abort_early

    @property
    def takes_mask(self) -> bool:
        """Yes."""
        return True

    @property
    def eps(self) -> None:
        """None: the distance is minimised, not bounded."""

    @property
    def iterations(self) -> int:
        """Iterations of one descent."""
        return self.steps

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Search over c; the trace is the smallest norm so far after every step, inf where there is none."""
        if not goal.resolved:
            with torch.no_grad():
                goal.resolve(network(x))
        image = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # too coarse to come near
        nearest = Nearest(image.clone(), image.new_full((len(x),), math.inf), torch.zeros_like(keys, dtype=torch.bool))
        weight = torch.full_like(nearest.norms, self.initial_weight)
        low, high = torch.zeros_like(weight), torch.full_like(weight, math.inf)
        trace, log = [], GradientLog(len(x), x.device)
        for step in range(self.search_steps):
            if step == self.search_steps - 1 and self.search_steps >= 10:
                weight = high.clamp(max=_MOST)
            nearest.successes = torch.zeros_like(nearest.successes)
            self.descend(network, image, weight, goal, nearest, log)
            high = torch.where(nearest.successes, weight, high)
            low = torch.where(nearest.successes, low, weight)
            weight = torch.where(high.isinf(), 10 * weight, (low + high) / 2)
            trace.append(nearest.norms.clone())
        x_adv, success = nearest.images.to(x.dtype), nearest.norms.isfinite()
        if finish:
            with torch.no_grad():
                success = goal.reached(network(x_adv))
        course, every = torch.stack(trace), torch.ones_like(success)
        return AttackResult(
            x_adv, goal.label, success, *distances(x_adv, x), course, log.zero, log.nonfinite, attacked=every
        )

    @abstractmethod
    def descend(
        self, network: nn.Module, x: Tensor, weight: Tensor, goal: Goal, nearest: Nearest, log: GradientLog
    ) -> None:
        """Descend once from the images, and put nearer successes into ``nearest``.

        Args:
            network: images to logits.
            x: ``[B, C, H, W]``.
            weight: c, ``[B]``.
            goal: of the samples.
            nearest: of all descents.
            log: of gradients.
        """
