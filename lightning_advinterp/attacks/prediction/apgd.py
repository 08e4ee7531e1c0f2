"""Auto-PGD: projected gradient ascent with momentum that sets its own step size (Croce & Hein 2020, Algorithm 1)."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.ascent import Ascent, checkpoints, random_start
from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.goal import LOSSES, margin, targeted_difference_of_logits_ratio
from lightning_advinterp.attacks.loop.gradient_log import input_gradient
from lightning_advinterp.attacks.loop.mask import within_mask
from lightning_advinterp.attacks.loop.step import NormalisedStep, SignStep
from lightning_advinterp.attacks.prediction.untargeted import (
    AdversarialImages,
    AttackedImages,
    UntargetedAttack,
    misclassified,
    remaining,
    remaining_targets,
)
from lightning_advinterp.core.randomness import mix

MOMENTUM = 0.75
"""α: the share of the gradient step; the rest is the previous move."""
TARGETS = 9
"""How many classes a targeted attack of AutoAttack aims at."""

APGDLoss = Literal["cross_entropy", "dlr", "dlr_targeted"]
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]


class APGD(UntargetedAttack):
    """Auto-PGD.

    A run costs one forward pass per iteration and one at the start, and one backward pass, to the input alone, per
    iteration. Samples leave at their first misclassified point; the others end at the point of the highest
    objective. The targeted loss takes a run per target, each on the samples that survived.

    Args:
        budget: the radius of the ball.
        steps: N, iterations of a run.
        loss: ``cross_entropy``, ``dlr``, or ``dlr_targeted`` towards each of the likeliest other classes.
        targets: how many classes, at most, the targeted loss aims at.
        **common: as in :class:`~lightning_advinterp.attacks.prediction.untargeted.UntargetedAttack`.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        steps: int = 100,
        loss: APGDLoss = "cross_entropy",
        targets: int = TARGETS,
        **common: Any,
    ) -> None:
        super().__init__(budget, **common)
        for argument, number in (("steps", steps), ("targets", targets)):
            if number < 1:
                raise ValueError(f"{argument} must be 1 or more, got {number}.")
        if loss not in ("cross_entropy", "dlr", "dlr_targeted"):
            raise ValueError(f"loss must be cross_entropy, dlr or dlr_targeted, got {loss!r}.")
        self.steps, self.loss, self.targets = steps, loss, targets if loss == "dlr_targeted" else 1

    @property
    def takes_mask(self) -> bool:
        """Yes."""
        return True

    @property
    def passes(self) -> tuple[int, int]:
        """One of each kind per iteration and run, a forward pass at every start, and the clean one."""
        return 1 + self.targets * (self.steps + 1), self.targets * self.steps

    @property
    def iterations(self) -> int:
        """Iterations of one run."""
        return self.steps

    def check_classes(self, num_classes: int) -> None:
        """Refuse a network with fewer logits than the loss compares."""
        least = {"cross_entropy": 2, "dlr": 3, "dlr_targeted": 4}[self.loss]
        if num_classes < least:
            raise ValueError(f"{self.name} with loss={self.loss} needs {least} classes or more, got {num_classes}.")

    def hunt(self, network: nn.Module, attacked: AttackedImages) -> AdversarialImages:
        """Climb once, or once towards every target; of the survivors' points, the one nearest to another class."""
        if self.loss != "dlr_targeted":
            loss = LOSSES[self.loss]
            return self._climb(network, attacked, attacked.label, lambda logits, label, _: loss(logits, label))
        adversarial = AdversarialImages.nothing(attacked)
        for rank, places, target in remaining_targets(attacked, adversarial, self.targets):
            part = attacked.take(places)
            part = part._replace(keys=mix(part.keys, rank))
            again = self._climb(network, part, target, targeted_difference_of_logits_ratio)
            better = again.success | (again.margin > adversarial.margin[places])
            adversarial.put(places[better], AdversarialImages(*(field[better] for field in again)))
        return adversarial

    def _climb(
        self, network: nn.Module, attacked: AttackedImages, target: Tensor, objective: Objective
    ) -> AdversarialImages:
        """One run; ``objective`` of logits, label and target is maximised."""
        adversarial = AdversarialImages.nothing(attacked)
        state = Ascent.at(
            random_start(self.threat, self.norm, attacked.x, attacked.radius, attacked.keys), attacked, target
        )
        marks, last = checkpoints(self.steps), 0
        for step in range(self.steps + 1):
            state = self._evaluate(network, state, objective, attacked, adversarial, gradient=step < self.steps)
            if len(state.index) == 0:
                return adversarial
            if step == 0:
                state.rises, state.value_then = torch.zeros_like(state.rises), state.best_value
            if step in marks:
                state.reconsider(step - last)
                last = step
            if step < self.steps:
                self._move(state, step)
        adversarial.put(
            state.index, AdversarialImages(state.best, torch.zeros_like(state.halved_then), state.best_margin)
        )
        return adversarial

    def _evaluate(
        self,
        network: nn.Module,
        state: Ascent,
        objective: Objective,
        attacked: AttackedImages,
        adversarial: AdversarialImages,
        *,
        gradient: bool,
    ) -> Ascent:
        """Return the samples that go on, with f and ∇f at their points; put the others into ``adversarial``."""
        with torch.set_grad_enabled(gradient):
            x_adv = state.x_adv.detach().requires_grad_(gradient)
            logits = network(x_adv)
            value = objective(logits, state.label, state.target)
        lost = misclassified(logits.detach(), state.label)
        stay, margins = remaining(lost), margin(logits.detach(), state.label)
        if len(stay) < len(lost):
            adversarial.put(
                state.index[lost],
                AdversarialImages(state.x_adv[lost], lost[lost], margins[lost].to(adversarial.margin)),
            )
        if len(stay) == 0:
            return state.take(stay)
        slope = state.gradient
        if gradient:
            slope = within_mask(input_gradient(value, x_adv), state.radius)
            slope = attacked.log[state.index].note(value.detach(), slope)
        values = value.detach().to(state.value)
        if len(stay) < len(lost):
            state, values, margins, slope = state.take(stay), values[stay], margins[stay], slope[stay]
        state.evaluated(values, margins.to(values), slope)
        return state

    def _move(self, state: Ascent, step: int) -> None:
        """Make the step z = P(x^(k) + η·direction), x^(k+1) = P(x^(k) + α(z − x^(k)) + (1 − α)(x^(k) − x^(k−1))).

        The first one has α = 1.
        """
        project = self.threat.project
        kind = SignStep(1.0) if self.norm == "linf" else NormalisedStep(1.0)
        direction = kind.direction(state.gradient, mix(state.keys, step))
        ahead = project(state.x_adv + state.step_size * direction, state.x, state.radius)
        momentum = MOMENTUM if step else 1.0
        moved = state.x_adv + momentum * (ahead - state.x_adv) + (1 - momentum) * (state.x_adv - state.previous)
        state.previous, state.x_adv = state.x_adv, project(moved, state.x, state.radius)
