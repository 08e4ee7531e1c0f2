"""The L2 attack of Carlini & Wagner 2017: the nearest adversarial image, by a search over the weight of its loss."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack, AttackResult, distances
from lightning_advinterp.attacks.loop.goal import Goal, margin
from lightning_advinterp.attacks.loop.gradient_log import GradientLog, input_gradient
from lightning_advinterp.attacks.loop.step import AdamStep

_INSIDE = 0.999999  # arctanh of a black or a white pixel must be finite
_MOST = 1e10  # weight that stands for "no success with any so far" in a last repeat


class CarliniWagnerAttack(Attack):
    """argmin over w of ‖x* − x‖₂² + c·max(κ − g(x*), 0), with x* = (tanh w + 1)/2 and a c of its own for every image.

    g is how far the goal is exceeded: z_t − max_{j≠t} z_j towards a target, max_{j≠y} z_j − z_y away from a label
    (Carlini & Wagner 2017, Section V and VI, loss f₆). z are logits: softmax outputs make the attack fail. x* lies in
    the box by construction. Each step of the search over c starts Adam afresh at the image; then c becomes ten times
    larger while nothing was found, else the mean of the largest failure and the smallest success, as in the
    authors' code. The nearest success of all steps is kept; an image without one comes back as it is.

    Departures: the authors take 10,000 iterations, 1,000 are the default here (9,000 passes per image instead of
    90,000). They end a descent early when the whole batch's loss stands still; here every image has its own test and
    leaves the batch, so that its result does not depend on its neighbours.

    Args:
        steps: iterations of Adam in each step of the search.
        search_steps: steps of the search over c. From 10 on, the last one repeats the smallest successful c.
        initial_weight: the first c.
        step_size: of Adam, in units of w.
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
    def passes(self) -> tuple[int, int]:
        """One of each kind per iteration and step of the search, and one for the class where that is to be found."""
        count = self.steps * self.search_steps
        return count + 1, count

    @property
    def iterations(self) -> int:
        """Iterations of one descent."""
        return self.steps

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Search over c; the trace is the L2 distance of the best so far after every step, inf where there is none."""
        if not goal.resolved:
            with torch.no_grad():
                goal.resolve(network(x))
        image = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # there 0.999999 would round to 1
        best, best_l2 = image.clone(), image.new_full((len(x),), math.inf)
        weight = torch.full_like(best_l2, self.initial_weight)
        low, high = torch.zeros_like(weight), torch.full_like(weight, math.inf)
        trace, log = [], GradientLog(len(x), x.device)
        for step in range(self.search_steps):
            if step == self.search_steps - 1 and self.search_steps >= 10:
                weight = high.clamp(max=_MOST)
            succeeded = self._descend(network, image, weight, goal, best, best_l2, log)
            high, low = torch.where(succeeded, weight, high), torch.where(succeeded, low, weight)
            weight = torch.where(high.isinf(), 10 * weight, (low + high) / 2)
            trace.append(best_l2.clone())
        best = best.to(x.dtype)
        success = best_l2.isfinite()
        if finish:
            with torch.no_grad():
                success = goal.reached(network(best))
        course, every = torch.stack(trace), torch.ones_like(success)
        return AttackResult(
            best, goal.label, success, *distances(best, x), course, log.zero, log.nonfinite, attacked=every
        )

    def _descend(
        self,
        network: nn.Module,
        x: Tensor,
        weight: Tensor,
        goal: Goal,
        best: Tensor,
        best_l2: Tensor,
        log: GradientLog,
    ) -> Tensor:
        """Run Adam once, writing nearer successes into ``best`` and ``best_l2``; return who had any, bool ``[B]``."""
        succeeded = torch.zeros_like(best_l2, dtype=torch.bool)
        at = torch.arange(len(x), device=x.device)  # the samples still descending
        w = ((2 * x - 1) * _INSIDE).atanh()
        start, held = (w.tanh() + 1) / 2, None if goal.mask is None else ~goal.mask
        start = start if held is None else torch.where(held, x, start)
        move, before = AdamStep(self.step_size).start(), torch.full_like(best_l2, math.inf)
        for step in range(self.steps):
            w = w.detach().requires_grad_()
            x_adv = (w.tanh() + 1) / 2
            x_adv = x_adv if held is None else torch.where(held, x, x_adv)  # whose gradient is 0 where x stays
            logits = network(x_adv)
            missing = (self.confidence - goal.gain(logits, margin)).clamp(min=0)
            loss = (x_adv - (start if held is None else torch.where(held, x, start))).square().flatten(1).sum(
                dim=1
            ) + weight * missing
            gradient = input_gradient(loss, w)
            reached = goal.exceeded(logits.detach(), self.confidence)
            gradient = log[at].note(loss.detach(), gradient, where=~reached)  # beyond the goal it is flat on purpose
            w, x_adv, loss = w.detach(), x_adv.detach(), loss.detach()
            if self.abort_early and step % math.ceil(self.steps / 10) == 0:
                stay = (loss <= 0.9999 * before).nonzero().squeeze(1)
                before = loss[stay]
                if len(stay) < len(at):
                    at, x, start, w, x_adv = at[stay], x[stay], start[stay], w[stay], x_adv[stay]
                    held = None if held is None else held[stay]
                    weight, reached, gradient, goal = weight[stay], reached[stay], gradient[stay], goal.take(stay)
                    move.take(stay)
                    if len(at) == 0:
                        break
            self._keep_nearer(x_adv, x, reached, at, succeeded, best, best_l2)
            w = w + move(-gradient, torch.ones_like(w[:, :1, :1, :1]), at)
        return succeeded

    @staticmethod
    def _keep_nearer(
        x_adv: Tensor, x: Tensor, reached: Tensor, at: Tensor, succeeded: Tensor, best: Tensor, best_l2: Tensor
    ) -> None:
        succeeded[at[reached]] = True
        l2 = (x_adv - x).flatten(1).norm(dim=1)
        nearer = reached & (l2 < best_l2[at])
        best[at[nearer]], best_l2[at[nearer]] = x_adv[nearer], l2[nearer]
