"""The one loop behind every iterated attack: climb an objective, step by step, inside a threat model."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack, AttackResult, distances, unnoted
from lightning_advinterp.attacks.loop.goal import LOSSES, Goal
from lightning_advinterp.attacks.loop.gradient_log import GradientLog, input_gradient
from lightning_advinterp.attacks.loop.mask import within_mask
from lightning_advinterp.attacks.loop.step import Step
from lightning_advinterp.attacks.loop.threat import L2, ThreatModel
from lightning_advinterp.core.randomness import mix


class GradientAttack(Attack):
    """An objective, a step and a threat model in one loop.

    One step costs a forward pass and a backward pass to the input alone.

    Args:
        threat: the norm ball, see :class:`~lightning_advinterp.attacks.loop.threat.ThreatModel`.
        step: how the gradient becomes a move.
        steps: number of steps, 1 or more.
        loss: the objective, a key of :data:`~lightning_advinterp.attacks.loop.goal.LOSSES`.
        random_start: begin at a random point of the ball instead of at the image.
        restarts: repeat with new random starts, and keep for every sample the first success, else the point of
            the highest objective; samples already successful are left out of further restarts.
        stop_after: a sample that has reached its goal after so many steps takes no further ones and leaves the
            batch; left out, every sample takes all steps.
        **common: as in :class:`~lightning_advinterp.attacks.loop.attack.Attack`.
    """

    def __init__(
        self,
        threat: ThreatModel,
        step: Step,
        *,
        steps: int = 1,
        loss: str = "cross_entropy",
        random_start: bool = False,
        restarts: int = 1,
        stop_after: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        for argument, number in (("steps", steps), ("restarts", restarts), ("stop_after", stop_after)):
            if number is not None and number < (0 if argument == "stop_after" else 1):
                raise ValueError(f"{argument} must be {0 if argument == 'stop_after' else 1} or more, got {number}.")
        if restarts > 1 and not random_start:
            raise ValueError(f"restarts={restarts} needs random_start=True: without it every restart is the same.")
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {loss!r}.")
        self.threat, self.step, self.steps, self.loss = threat, step, steps, loss
        self.random_start, self.restarts, self.stop_after = random_start, restarts, stop_after

    @property
    def takes_mask(self) -> bool:
        """Yes."""
        return True

    @property
    def eps(self) -> float | None:
        """The largest radius of the ball."""
        return self.threat.budget.high

    @property
    def eps_low(self) -> float | None:
        """The smallest radius that is drawn; the largest where all are alike."""
        return None if self.eps is None else self.threat.budget.low

    @property
    def eps_norm(self) -> str | None:
        """The ball's norm."""
        if self.eps is None:
            return None
        return "l2" if isinstance(self.threat, L2) else "linf"

    @property
    def passes(self) -> tuple[int, int]:
        """One of each kind per step and restart."""
        steps = self.steps * self.restarts
        return steps + (self.loss == "kl"), steps

    @property
    def iterations(self) -> int:
        """The number of steps."""
        return self.steps

    def scaled(self, share: float) -> "GradientAttack":
        """Return the same attack with its radius and steps multiplied by ``share``."""
        scaled = copy.copy(self)
        scaled.threat = replace(self.threat, budget=self.threat.budget.scaled(share))
        scaled.step = self.step.scaled(share)
        return scaled

    def gain(self, logits: Tensor, goal: Goal) -> Tensor:
        """Return what is maximised, ``[B]``, at points with these logits."""
        return goal.gain(logits, LOSSES[self.loss])

    def objective(self, network: nn.Module, x_adv: Tensor, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return what is maximised, ``[B]``, and the logits, at ``x_adv``, the neighbour of ``x``."""
        logits = network(x_adv)
        return self.gain(logits, goal), logits

    def arrive(self, network: nn.Module, here: Tensor, there: Tensor, x: Tensor, radius: Tensor, goal: Goal) -> Tensor:
        """Return where a step from ``here`` to ``there`` ends; all ``[B, C, H, W]`` in the threat model of ``x``."""
        return there

    def first_move(self, x: Tensor, gradient: Tensor, keys: Tensor) -> Tensor:
        """Take the first step from the image itself along ``gradient``, back into the threat model."""
        radius = self.threat.budget.radius(keys, x.dtype)
        return self.threat.project(x + self.step.start()(gradient, radius, keys), x, radius)

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Climb, once for every restart that a sample still needs."""
        if self.loss == "kl" or (self.random_start and not goal.resolved):
            with torch.no_grad():
                clean = network(x)
            goal.resolve(clean)
            goal.clean = clean if self.loss == "kl" else None
        radius, log = goal.reach(self.threat.budget.radius(keys, x.dtype)), GradientLog(len(x), x.device)
        result = self._climb(network, x, radius, goal, keys, log, finish=finish or self.restarts > 1)
        for restart in range(1, self.restarts):
            todo = (~result.success).nonzero().squeeze(1)
            if len(todo) == 0:
                break
            part = (x[todo], radius[todo], goal.take(todo), mix(keys[todo], restart), log[todo])
            result = _keep_better(result, self._climb(network, *part, finish=True), todo)
        return result._replace(zero_gradient=log.zero, nonfinite=log.nonfinite)

    def _climb(
        self, network: nn.Module, x: Tensor, radius: Tensor, goal: Goal, keys: Tensor, log: GradientLog, *, finish: bool
    ) -> AttackResult:
        """One run of the loop; ``finish`` spends a forward pass on the last point's objective and success."""
        image, x_adv = x, self.threat.random_start(x, radius, keys) if self.random_start else x
        everyone, stopped = goal, torch.empty_like(x) if self.stop_after is not None else x
        at = torch.arange(len(x), device=x.device)  # the samples still climbing
        move = self.step.start()
        trace: list[Tensor] = []
        for step in range(self.steps):
            x_adv = x_adv.detach()
            ahead = move.ahead(radius)
            point = (x_adv if ahead is None else x_adv + ahead).requires_grad_()
            gain, logits = self.objective(network, point, x, goal)
            trace.append(gain.detach() if len(at) == len(image) else trace[-1].index_copy(0, at, gain.detach()))
            gradient = input_gradient(gain, point)
            gradient = within_mask(gradient, radius)
            gradient = log.note(gain.detach(), gradient, where=None if self.step.climbs else torch.zeros_like(at) > 0)
            x_adv = x_adv.detach()
            if self.stop_after is not None and step >= self.stop_after:
                reached = goal.reached(logits.detach())
                if bool(reached.any()):
                    stopped[at[reached]] = x_adv[reached]
                    stay = (~reached).nonzero().squeeze(1)
                    at, x, x_adv, gradient = at[stay], x[stay], x_adv[stay], gradient[stay]
                    radius, keys, goal, log = radius[stay], keys[stay], goal.take(stay), log[stay]
                    move.take(stay)
                    if len(at) == 0:
                        break
            there = self.threat.project(x_adv + move(gradient, radius, mix(keys, step)), x, radius)
            x_adv = self.arrive(network, x_adv, there, x, radius, goal)
        if len(at) < len(image):
            x_adv = stopped.index_copy(0, at, x_adv)
        return self._result(network, x_adv, image, everyone, trace, finish=finish)

    def _result(
        self, network: nn.Module, x_adv: Tensor, x: Tensor, goal: Goal, trace: list[Tensor], *, finish: bool
    ) -> AttackResult:
        trace += trace[-1:] * (self.steps - len(trace))  # where all samples stopped early
        success = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        target = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        if finish:
            with torch.no_grad():
                value, logits = self.objective(network, x_adv, x, goal)
            trace.append(value)
            success, target = goal.reached(logits), goal.resolve(logits)
        return AttackResult(x_adv, target, success, *distances(x_adv, x), torch.stack(trace), *unnoted(success))


def _keep_better(best: AttackResult, again: AttackResult, todo: Tensor) -> AttackResult:
    """Merge a restart of the samples ``todo`` into the best so far."""
    wins = again.success | (again.trace[-1] > best.trace[-1, todo])
    at = todo[wins]
    merged = AttackResult(*(field.clone() for field in best))
    for old, new in zip(merged, again, strict=True):
        if old is not merged.trace:
            old[at] = new[wins]
    merged.trace[:, at] = again.trace[:, wins]
    return merged
