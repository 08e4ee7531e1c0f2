"""Attacks on the images that a network classifies correctly: all others are returned as they are."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack, AttackResult, distances
from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.goal import Goal, margin
from lightning_advinterp.attacks.loop.gradient_log import GradientLog
from lightning_advinterp.attacks.loop.threat import THREATS, Norm, ThreatModel


@dataclass
class Samples:
    """What a run remembers: every field of a subclass is a tensor ``[B, …]``."""

    def take(self, indices: Tensor) -> Self:
        """Return some of the samples, int64 ``[b]``."""
        return replace(self, **{field.name: getattr(self, field.name)[indices] for field in fields(self)})


class AttackedImages(NamedTuple):
    """Images of which all are classified as their label, and what an attack may know about them.

    Attributes:
        x: images ``[B, C, H, W]``.
        label: int64 ``[B]``, the class to move away from, which is the predicted one.
        logits: ``[B, K]``, the network's output at ``x``.
        radius: ``[B, 1, 1, 1]``, ε, or ``[B, 1, H, W]`` with 0 at the pixels that a mask holds.
        keys: int64 ``[B]``, where all random draws come from.
        log: notes what gradients the attack meets.
    """

    x: Tensor
    label: Tensor
    logits: Tensor
    radius: Tensor
    keys: Tensor
    log: GradientLog

    def take(self, indices: Tensor) -> "AttackedImages":
        """Return some of the images, int64 ``[b]``."""
        return AttackedImages(
            self.x[indices],
            self.label[indices],
            self.logits[indices],
            self.radius[indices],
            self.keys[indices],
            self.log[indices],
        )


class AdversarialImages(NamedTuple):
    """What an attack made of its images.

    Attributes:
        x_adv: images ``[B, C, H, W]`` inside the threat model: the first adversarial one, else the attack's best.
        success: bool ``[B]``, whether ``x_adv`` is classified as something else.
        margin: ``[B]``, max_{j≠y} z_j − z_y at ``x_adv``.
    """

    x_adv: Tensor
    success: Tensor
    margin: Tensor

    @classmethod
    def nothing(cls, attacked: AttackedImages) -> "AdversarialImages":
        """Return the images themselves, as the state that an attack begins with."""
        return cls(
            attacked.x.clone(),
            torch.zeros_like(attacked.label, dtype=torch.bool),
            margin(attacked.logits, attacked.label).clone(),
        )

    def put(self, indices: Tensor, part: "AdversarialImages") -> None:
        """Overwrite the samples ``indices``, int64 ``[b]``, with what became of them."""
        for whole, new in zip(self, part, strict=True):
            whole[indices] = new.to(whole.dtype)


def remaining(gone: Tensor) -> Tensor:
    """Return the indices, int64 ``[b]``, of the samples of bool ``[B]`` that are not gone."""
    return (~gone).nonzero().squeeze(1)


class UntargetedAttack(Attack):
    """An attack that looks for any other class, inside an L∞ or L2 ball.

    The clean images take one forward pass; those already misclassified take no other. The trace of its result is
    the margin at the image and at x*, ``[2, B]``.

    Args:
        budget: the radius of the ball.
        norm: ``linf`` or ``l2``.
        **common: as in :class:`~lightning_advinterp.attacks.loop.attack.Attack`; no targets.
    """

    def __init__(self, budget: Budget, norm: Norm = "linf", **common: Any) -> None:
        super().__init__(**common)
        if norm not in THREATS:
            raise ValueError(f"norm must be one of {sorted(THREATS)}, got {norm!r}.")
        if self.target is not None or self.label == "least_likely":
            raise ValueError(
                f"{self.name} is untargeted: label must be true or predicted and target left out, "
                f"got label={self.label!r}, target={self.target!r}."
            )
        self.norm: Norm = norm
        self.threat: ThreatModel = THREATS[norm](budget)

    @property
    def takes_target(self) -> bool:
        """No."""
        return False

    @property
    def eps(self) -> float:
        """The largest radius of the ball."""
        return self.threat.budget.high

    @property
    def eps_low(self) -> float:
        """The smallest radius that is drawn; the largest where all are alike."""
        return self.threat.budget.low

    @property
    def eps_norm(self) -> str:
        """The ball's norm."""
        return self.norm

    @abstractmethod
    def hunt(self, network: nn.Module, attacked: AttackedImages) -> AdversarialImages:
        """Attack images that are classified correctly, one or more."""

    def check_classes(self, num_classes: int) -> None:
        """Refuse a network with too few classes for the attack's objective."""
        if num_classes < 2:
            raise ValueError(f"{self.name} needs a network with 2 classes or more, got {num_classes}.")

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Hunt for those that are still classified correctly; nothing here costs more passes to finish."""
        if goal.targeted:
            raise ValueError(f"{self.name} is untargeted: call it without target.")
        with torch.no_grad():
            logits = network(x)
        self.check_classes(logits.shape[1])
        label = goal.resolve(logits)
        lost = goal.reached(logits)
        log = GradientLog(len(x), x.device)
        attacked = AttackedImages(x, label, logits, goal.reach(self.threat.budget.radius(keys, x.dtype)), keys, log)
        log.note_value(margin(logits, label))
        adversarial = AdversarialImages.nothing(attacked)
        before, success = adversarial.margin.clone(), lost.clone()
        todo = remaining(lost)
        if len(todo) > 0:
            adversarial.put(todo, self.hunt(network, attacked.take(todo)))
            success |= adversarial.success
        trace = torch.stack([before, adversarial.margin])
        every = torch.ones_like(success)
        return AttackResult(
            adversarial.x_adv, label, success, *distances(adversarial.x_adv, x), trace, log.zero, log.nonfinite, every
        )


def misclassified(logits: Tensor, label: Tensor) -> Tensor:
    """Whether the prediction is another class, bool ``[B]``, from ``[B, K]`` and int64 ``[B]``; NaN predicts none."""
    return (logits.argmax(dim=1) != label) & ~logits.isnan().any(dim=1)


def target_classes(logits: Tensor, label: Tensor, most: int) -> Tensor:
    """Return the most likely classes other than the label, int64 ``[B, min(most, K − 1)]``, likeliest first."""
    rivals = logits.scatter(1, label[:, None], -torch.inf)
    return rivals.topk(min(most, logits.shape[1] - 1), dim=1).indices


def remaining_targets(
    attacked: AttackedImages, adversarial: AdversarialImages, most: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Go through the most likely wrong classes, until nothing is left to attack.

    Args:
        attacked: the images.
        adversarial: what was reached so far; the caller puts what it reaches into it.
        most: how many classes at most.

    Yields:
        The class's rank, the places of the images that are not adversarial yet, int64 ``[B']``, and their targets.
    """
    targets = target_classes(attacked.logits, attacked.label, most)
    for rank in range(targets.shape[1]):
        places = remaining(adversarial.success)
        if len(places) == 0:
            return
        yield rank, places, targets[places, rank]
