"""The elastic-net attack of Chen et al. 2018 (EAD): few pixels, by ISTA, with a search over the weight of the loss."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack, AttackResult, distances
from lightning_advinterp.attacks.loop.goal import Goal, margin
from lightning_advinterp.attacks.loop.gradient_log import GradientLog, input_gradient
from lightning_advinterp.attacks.loop.mask import within_mask

Decision = Literal["en", "l1"]
_MOST = 1e10  # weight that stands for "no success with any so far" in a last repeat


@dataclass
class _Nearest:
    """The nearest success of every sample so far, by the decision rule.

    Attributes:
        images: ``[B, C, H, W]``; the image itself where there is none.
        norms: ``[B]``, inf where there is none.
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


class ElasticNetAttack(Attack):
    """argmin over x* in the box of c·max(κ − g(x*), 0) + ‖x* − x‖₂² + β‖x* − x‖₁, with a c of its own for every image.

    g is how far the goal is exceeded, in logits, as in Carlini & Wagner's attack; c is searched for as there. The
    minimiser is ISTA with momentum (FISTA) and a step size that falls with the square root of the steps that remain:
    a gradient step on the smooth part from y, then soft thresholding around x by β, clipped to the box. Of all points
    that reach the goal the nearest is kept, by β·L1 + L2² (``en``) or by L1 (``l1``). An image without one comes back
    as it is.

    Departures: the authors take 1,000 iterations; here and there a descent ends early where the loss stands still, but
    the test is every image's own, so that its result does not depend on the batch.

    Args:
        steps: iterations of each step of the search.
        search_steps: steps of the search over c. From 10 on, the last one repeats the smallest successful c.
        initial_weight: the first c.
        step_size: of the first iteration.
        confidence: κ, by how much the goal must be exceeded, in units of logits.
        regularization: β.
        decision: ``en`` or ``l1``.
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
        regularization: float = 1e-2,
        decision: Decision = "en",
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
        for argument, number in (("confidence", confidence), ("regularization", regularization)):
            if not 0 <= number < math.inf:
                raise ValueError(f"{argument} must be a finite number, 0 or more, got {number}.")
        if decision not in get_args(Decision):
            raise ValueError(f"decision must be en or l1, got {decision!r}.")
        self.steps, self.search_steps, self.initial_weight = steps, search_steps, initial_weight
        self.step_size, self.confidence, self.abort_early = step_size, confidence, abort_early
        self.regularization, self.decision = regularization, decision

    @property
    def takes_mask(self) -> bool:
        """Yes."""
        return True

    @property
    def eps(self) -> None:
        """None: the distance is minimised, not bounded."""

    @property
    def passes(self) -> tuple[int, int]:
        """Two forward passes and a backward pass per iteration and step of the search, and one for the class."""
        count = self.steps * self.search_steps
        return 2 * count + 1, count

    @property
    def iterations(self) -> int:
        """Iterations of one descent."""
        return self.steps

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Search over c; the trace is the smallest norm so far after every step, inf where there is none."""
        if not goal.resolved:
            with torch.no_grad():
                goal.resolve(network(x))
        nearest = _Nearest(x.clone(), x.new_full((len(x),), math.inf), torch.zeros_like(keys, dtype=torch.bool))
        weight = torch.full_like(nearest.norms, self.initial_weight)
        low, high = torch.zeros_like(weight), torch.full_like(weight, math.inf)
        trace, log = [], GradientLog(len(x), x.device)
        for step in range(self.search_steps):
            if step == self.search_steps - 1 and self.search_steps >= 10:
                weight = high.clamp(max=_MOST)
            nearest.successes = torch.zeros_like(nearest.successes)
            self._descend(network, x, weight, goal, nearest, log)
            high = torch.where(nearest.successes, weight, high)
            low = torch.where(nearest.successes, low, weight)
            weight = torch.where(high.isinf(), 10 * weight, (low + high) / 2)
            trace.append(nearest.norms.clone())
        success = nearest.norms.isfinite()
        if finish:
            with torch.no_grad():
                success = goal.reached(network(nearest.images))
        course, every = torch.stack(trace), torch.ones_like(success)
        changed = distances(nearest.images, x)
        return AttackResult(nearest.images, goal.label, success, *changed, course, log.zero, log.nonfinite, every)

    def _descend(
        self, network: nn.Module, x: Tensor, weight: Tensor, goal: Goal, nearest: _Nearest, log: GradientLog
    ) -> None:
        """Run FISTA once from the images, and put nearer successes into ``nearest``."""
        at = torch.arange(len(x), device=x.device)  # the samples still descending
        free = goal.reach(torch.ones_like(x[:, :1, :1, :1]))
        point = ahead = x
        before = torch.full_like(weight, math.inf)
        for step in range(self.steps):
            ahead = ahead.detach().requires_grad_()
            logits = network(ahead)
            missing = (self.confidence - goal.gain(logits, margin)).clamp(min=0)
            loss = (ahead - x).square().flatten(1).sum(dim=1) + weight * missing
            gradient = within_mask(input_gradient(loss, ahead), free)
            reached = goal.exceeded(logits.detach(), self.confidence)
            gradient = log[at].note(loss.detach(), gradient, where=~reached)  # at x, beyond the goal, it is flat
            size = self.step_size * math.sqrt(1 - step / self.steps)
            moved = shrink(ahead.detach() - size * gradient, x, self.regularization)
            ahead, point = moved + step / (step + 3) * (moved - point), moved
            if self.abort_early and step % math.ceil(self.steps / 10) == 0:
                stay = (loss.detach() <= 0.9999 * before).nonzero().squeeze(1)
                before = loss.detach()[stay]
                if len(stay) < len(at):
                    at, x, point, ahead = at[stay], x[stay], point[stay], ahead[stay]
                    weight, free, goal = weight[stay], free[stay], goal.take(stay)
                    if len(at) == 0:
                        return
            with torch.no_grad():
                reached = goal.exceeded(network(point), self.confidence)
            nearest.put(at, point, self._norm(point - x), reached)

    def _norm(self, delta: Tensor) -> Tensor:
        """Return what the decision rule compares, ``[B]``."""
        flat = delta.flatten(1)
        l1 = flat.abs().sum(dim=1)
        return l1 if self.decision == "l1" else self.regularization * l1 + flat.square().sum(dim=1)


def shrink(point: Tensor, x: Tensor, threshold: float) -> Tensor:
    """Return the points with every value moved by the threshold towards x, and to x where that is nearer; in the box.

    This is S_β of Chen et al. 2018, Eq. 8.
    """
    delta = point - x
    above, below = (point - threshold).clamp(max=1), (point + threshold).clamp(min=0)
    return torch.where(delta > threshold, above, torch.where(delta < -threshold, below, x))
