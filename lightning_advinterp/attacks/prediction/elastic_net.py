"""The elastic-net attack of Chen et al. 2018 (EAD): few pixels, by ISTA, with a search over the weight of the loss."""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.goal import Goal, margin
from lightning_advinterp.attacks.loop.gradient_log import GradientLog, input_gradient
from lightning_advinterp.attacks.loop.mask import within_mask
from lightning_advinterp.attacks.prediction.weight_search import Nearest, WeightSearch

Decision = Literal["en", "l1"]


class ElasticNetAttack(WeightSearch):
    """argmin over x* in the box of c·max(κ − g(x*), 0) + ‖x* − x‖₂² + β‖x* − x‖₁, with a c of its own for every image.

    g is how far the goal is exceeded, in logits, as in Carlini & Wagner's attack; c is searched for as there. The
    minimiser is ISTA with momentum (FISTA) and a step size that falls with the square root of the steps that remain:
    a gradient step on the smooth part from y, then soft thresholding around x by β, clipped to the box. Of all points
    that reach the goal the nearest is kept, by β·L1 + L2² (``en``) or by L1 (``l1``). An image without one comes back
    as it is.

    Departures: the authors take 1,000 iterations; here and there a descent ends early where the loss stands still, but
    the test is every image's own, so that its result does not depend on the batch.

    Args:
        regularization: β.
        decision: ``en`` or ``l1``.
        **common: as in :class:`~lightning_advinterp.attacks.prediction.weight_search.WeightSearch`.
    """

    def __init__(self, *, regularization: float = 1e-2, decision: Decision = "en", **common: Any) -> None:
        super().__init__(**common)
        if not 0 <= regularization < math.inf:
            raise ValueError(f"regularization must be a finite number, 0 or more, got {regularization}.")
        if decision not in get_args(Decision):
            raise ValueError(f"decision must be en or l1, got {decision!r}.")
        self.regularization, self.decision = regularization, decision

    @property
    def passes(self) -> tuple[int, int]:
        """Two forward passes and a backward pass per iteration and step of the search, and one for the class."""
        count = self.steps * self.search_steps
        return 2 * count + 1, count

    def descend(
        self, network: nn.Module, x: Tensor, weight: Tensor, goal: Goal, nearest: Nearest, log: GradientLog
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
