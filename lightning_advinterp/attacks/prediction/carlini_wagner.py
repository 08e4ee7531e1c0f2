"""The L2 attack of Carlini & Wagner 2017: the nearest adversarial image, by a search over the weight of its loss."""

import math

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.goal import Goal, margin
from lightning_advinterp.attacks.loop.gradient_log import GradientLog, input_gradient
from lightning_advinterp.attacks.loop.step import AdamStep
from lightning_advinterp.attacks.prediction.weight_search import Nearest, WeightSearch

_INSIDE = 0.999999  # arctanh of a black or a white pixel must be finite


class CarliniWagnerAttack(WeightSearch):
    """argmin over w of ‖x* − x‖₂² + c·max(κ − g(x*), 0), with x* = (tanh w + 1)/2 and a c of its own for every image.

    g is how far the goal is exceeded: z_t − max_{j≠t} z_j towards a target, max_{j≠y} z_j − z_y away from a label
    (Carlini & Wagner 2017, Section V and VI, loss f₆). z are logits: softmax outputs make the attack fail. x* lies in
    the box by construction. Each step of the search over c starts Adam afresh at the image; then c becomes ten times
    larger while nothing was found, else the mean of the largest failure and the smallest success, as in the
    authors' code. The nearest success of all steps is kept; an image without one comes back as it is.

    Departures: the authors take 10,000 iterations, 1,000 are the default here (9,000 passes per image instead of
    90,000). They end a descent early when the whole batch's loss stands still; here every image has its own test and
    leaves the batch, so that its result does not depend on its neighbours.

    Args: as in :class:`~lightning_advinterp.attacks.prediction.weight_search.WeightSearch`; ``step_size`` is Adam's, in
    units of w.
    """

    @property
    def passes(self) -> tuple[int, int]:
        """One of each kind per iteration and step of the search, and one for the class where that is to be found."""
        count = self.steps * self.search_steps
        return count + 1, count

    def descend(
        self, network: nn.Module, x: Tensor, weight: Tensor, goal: Goal, nearest: Nearest, log: GradientLog
    ) -> None:
        """Run Adam once, from the images."""
        at = torch.arange(len(x), device=x.device)  # the samples still descending
        w = ((2 * x - 1) * _INSIDE).atanh()
        start, fixed = (w.tanh() + 1) / 2, None if goal.mask is None else ~goal.mask
        start = start if fixed is None else torch.where(fixed, x, start)
        move, before = AdamStep(self.step_size).start(), torch.full_like(weight, math.inf)
        for step in range(self.steps):
            w = w.detach().requires_grad_()
            x_adv = (w.tanh() + 1) / 2
            x_adv = x_adv if fixed is None else torch.where(fixed, x, x_adv)  # whose gradient is 0 where x stays
            logits = network(x_adv)
            missing = (self.confidence - goal.gain(logits, margin)).clamp(min=0)
            loss = (x_adv - (start if fixed is None else torch.where(fixed, x, start))).square().flatten(1).sum(
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
                    fixed = None if fixed is None else fixed[stay]
                    weight, reached, gradient, goal = weight[stay], reached[stay], gradient[stay], goal.take(stay)
                    move.take(stay)
                    if len(at) == 0:
                        return
            nearest.put(at, x_adv, (x_adv - x).flatten(1).norm(dim=1), reached)
            w = w + move(-gradient, torch.ones_like(w[:, :1, :1, :1]), at)
