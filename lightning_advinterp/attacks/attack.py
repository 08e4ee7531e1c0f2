"""The one loop behind every iterated attack: climb an objective, step by step, inside a threat model."""

import copy
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.prediction import LOSSES, Goal, LabelRule, TargetRule
from lightning_advinterp.attacks.step import Step
from lightning_advinterp.attacks.threat import ThreatModel
from lightning_advinterp.networks.modes import BatchNormMode, attack_mode, check_batch_norm_mode
from lightning_advinterp.randomness import mix, sample_keys


class AttackResult(NamedTuple):
    """What an attack found.

    Attributes:
        x_adv: adversarial images, like the input.
        target: int64 ``[B]``, the class aimed at, or moved away from where the attack is untargeted.
        success: bool ``[B]``, whether the prediction is as wanted.
        linf: ``[B]``, ‖x* − x‖∞ in the [0, 1] range.
        l2: ``[B]``, ‖x* − x‖₂.
        trace: ``[steps + 1, B]``, the objective before every step and at ``x_adv`` (of the restart kept).
    """

    x_adv: Tensor
    target: Tensor
    success: Tensor
    linf: Tensor
    l2: Tensor
    trace: Tensor


def check_images(x: Tensor) -> None:
    """Refuse what is not a batch of float images in [0, 1]; every attack's ε has that unit."""
    if x.dim() != 4 or not x.is_floating_point():
        raise ValueError(f"x must be float images [B, C, H, W], got {x.dtype} of shape {tuple(x.shape)}.")
    if x.numel() and (float(x.min()) < 0 or float(x.max()) > 1):
        raise ValueError(
            f"x must lie in [0, 1], got values in [{float(x.min()):.3g}, {float(x.max()):.3g}]; "
            "normalisation is the network's first layer, not the data set's."
        )


class Attack:
    """An attack on predictions: an objective, a step and a threat model in one loop.

    One step costs a forward pass and a backward pass to the input alone: gradients come from
    ``torch.autograd.grad``, so parameters collect none, and the network's modes and statistics stay as they were.

    Args:
        threat: the norm ball, see :class:`~lightning_advinterp.attacks.threat.ThreatModel`.
        step: how the gradient becomes a move.
        steps: number of steps, 1 or more.
        loss: the objective, ``cross_entropy`` or ``margin``.
        random_start: begin at a random point of the ball instead of at the image.
        restarts: repeat with new random starts, and keep for every sample the first success, else the point of
            the highest objective; samples already successful are left out of further restarts.
        label: the class to move away from: ``true``, ``predicted``, or ``least_likely`` (then move towards it).
        target: ``least_likely``, ``random`` or a class index makes the attack targeted.
        bn: how BatchNorm behaves during the attack, see :mod:`lightning_advinterp.networks.modes`.
        name: what tables call it.
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
        label: LabelRule = "true",
        target: TargetRule | int | None = None,
        bn: BatchNormMode = "eval",
        name: str = "attack",
    ) -> None:
        check_batch_norm_mode(bn)
        for argument, number in (("steps", steps), ("restarts", restarts)):
            if number < 1:
                raise ValueError(f"{argument} must be 1 or more, got {number}.")
        if restarts > 1 and not random_start:
            raise ValueError(f"restarts={restarts} needs random_start=True: without it every restart is the same.")
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {loss!r}.")
        if label not in ("true", "predicted", "least_likely"):
            raise ValueError(f"label must be true, predicted or least_likely, got {label!r}.")
        if isinstance(target, str) and target not in ("least_likely", "random"):
            raise ValueError(f"target must be least_likely, random or a class index, got {target!r}.")
        self.threat, self.step, self.steps, self.loss = threat, step, steps, loss
        self.random_start, self.restarts = random_start, restarts
        self.label, self.target, self.bn, self.name = label, target, bn, name

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    def __call__(
        self,
        network: nn.Module,
        x: Tensor,
        y: Tensor | None = None,
        *,
        target: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> Tensor:
        """Return adversarial images for ``x``.

        Args:
            network: images ``[B, C, H, W]`` in [0, 1] to logits ``[B, K]``.
            x: the images.
            y: int64 ``[B]``, true labels; not needed where the label rule or the target does without.
            target: int64 ``[B]``, the classes to aim at.
            keys: int64 ``[B]`` from :func:`~lightning_advinterp.randomness.sample_keys`; all random
                draws of a sample come from its key. Left out, a sample's place in the batch is its key.

        Returns:
            Tensor like ``x``, inside the threat model, without a graph.
        """
        return self._run(network, x, y, target, keys, finish=self.restarts > 1).x_adv

    def run(
        self,
        network: nn.Module,
        x: Tensor,
        y: Tensor | None = None,
        *,
        target: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> AttackResult:
        """Like a call, for one more forward pass: success, distances and the objective's course come with it."""
        return self._run(network, x, y, target, keys, finish=True)

    def scaled(self, share: float) -> "Attack":
        """Return the same attack with its radius and steps multiplied by ``share``."""
        scaled = copy.copy(self)
        scaled.threat = replace(self.threat, budget=self.threat.budget.scaled(share))
        scaled.step = self.step.scaled(share)
        return scaled

    def keys_for(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """Return the given keys, or the places in the batch as such."""
        return sample_keys(torch.arange(len(x), device=x.device)) if keys is None else keys

    def goal(self, y: Tensor | None, target: Tensor | None, keys: Tensor) -> Goal:
        """Return the class question of this attack for one batch."""
        return Goal(y, target, label_rule=self.label, target_rule=self.target, keys=keys)

    def gain(self, logits: Tensor, goal: Goal) -> Tensor:
        """Return what is maximised, ``[B]``, at points with these logits."""
        return goal.gain(logits, LOSSES[self.loss])

    def move(self, x_adv: Tensor, gradient: Tensor, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Take one step from ``x_adv`` along ``gradient`` and come back into the threat model around ``x``."""
        return self.threat.project(x_adv + self.step(gradient, radius, keys), x, radius)

    def _run(
        self,
        network: nn.Module,
        x: Tensor,
        y: Tensor | None,
        target: Tensor | None,
        keys: Tensor | None,
        *,
        finish: bool,
    ) -> AttackResult:
        check_images(x)
        x, keys = x.detach(), self.keys_for(x, keys)
        goal = self.goal(y, target, keys)
        with attack_mode(network, self.bn), torch.enable_grad():
            if self.random_start and not goal.resolved:
                with torch.no_grad():
                    goal.resolve(network(x))
            radius = self.threat.budget.radius(keys, x.dtype)
            result = self._climb(network, x, radius, goal, keys, finish=finish)
            for restart in range(1, self.restarts):
                todo = (~result.success).nonzero().squeeze(1)
                if len(todo) == 0:
                    break
                again = self._climb(
                    network, x[todo], radius[todo], goal.take(todo), mix(keys[todo], restart), finish=True
                )
                result = _keep_better(result, again, todo)
        return result

    def _climb(
        self, network: nn.Module, x: Tensor, radius: Tensor, goal: Goal, keys: Tensor, *, finish: bool
    ) -> AttackResult:
        """One run of the loop; ``finish`` spends a forward pass on the last point's objective and success."""
        x_adv = self.threat.random_start(x, radius, keys) if self.random_start else x
        trace = []
        for step in range(self.steps):
            x_adv = x_adv.detach().requires_grad_()
            gain = self.gain(network(x_adv), goal)
            (gradient,) = torch.autograd.grad(gain.sum(), x_adv)
            trace.append(gain.detach())
            x_adv = self.move(x_adv.detach(), gradient, x, radius, mix(keys, step))
        success = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        target = torch.zeros_like(keys)
        if finish:
            with torch.no_grad():
                logits = network(x_adv)
                trace.append(self.gain(logits, goal))
                success, target = goal.reached(logits), goal.resolve(logits)
        delta = (x_adv - x).flatten(1)
        return AttackResult(x_adv, target, success, delta.abs().amax(dim=1), delta.norm(dim=1), torch.stack(trace))


def _keep_better(best: AttackResult, again: AttackResult, todo: Tensor) -> AttackResult:
    """Merge a restart of the samples ``todo`` into the best so far."""
    wins = again.success | (again.trace[-1] > best.trace[-1, todo])
    at = todo[wins]
    merged = [field.clone() for field in best]
    for old, new in zip(merged[:-1], again[:-1], strict=True):
        old[at] = new[wins]
    merged[-1][:, at] = again.trace[:, wins]
    return AttackResult(*merged)
