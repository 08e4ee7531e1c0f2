"""What every attack is: images in, adversarial images out, and the network as it was."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from lightning_advinterp.attacks.prediction import Goal, LabelRule, TargetRule
from lightning_advinterp.networks.modes import BatchNormMode, attack_mode, check_batch_norm_mode
from lightning_advinterp.randomness import sample_keys


class AttackResult(NamedTuple):
    """What an attack found.

    Attributes:
        x_adv: adversarial images, like the input.
        target: int64 ``[B]``, the class aimed at, or moved away from where the attack is untargeted.
        success: bool ``[B]``, whether the prediction is as wanted.
        linf: ``[B]``, ‖x* − x‖∞ in the [0, 1] range.
        l2: ``[B]``, ‖x* − x‖₂.
        trace: ``[T, B]``, the course of the search: for attacks that climb an objective its value before every step
            and at ``x_adv`` (of the restart kept), ``T = steps + 1``; for those of AutoAttack the margin before and
            after, ``T = 2``.
    """

    x_adv: Tensor
    target: Tensor
    success: Tensor
    linf: Tensor
    l2: Tensor
    trace: Tensor


def check_images(x: Tensor) -> None:
    """Refuse what is not a batch of float images in [0, 1]; every attack's ε has that unit."""
    if x.dim() != 4 or x.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"x must be float32 (or float64) images [B, C, H, W], got {x.dtype} of shape {tuple(x.shape)}; "
            "half precision would round them out of the ball, and belongs inside the network."
        )
    if not x.numel():
        return
    low, high = (float(bound) for bound in x.aminmax())
    if not (low >= 0 and high <= 1):  # NaN compares false
        raise ValueError(
            f"x must lie in [0, 1], got values in [{low:.3g}, {high:.3g}]; "
            "normalisation is the network's first layer, not the data set's."
        )


class Attack(ABC):
    """An attack on predictions.

    Gradients come from ``torch.autograd.grad``, so parameters collect none, and the network's modes and statistics
    stay as they were, also after an error. All random draws of a sample come from its key.

    Args:
        label: the class to move away from: ``true``, ``predicted``, or ``least_likely`` (then move towards it).
        target: ``least_likely``, ``random`` or a class index makes the attack targeted.
        bn: how BatchNorm behaves during the attack, see :mod:`lightning_advinterp.networks.modes`.
        name: what tables call it.

    Attributes:
        classes: outputs among which ``least_likely`` and ``random`` targets are chosen, rising; None: all. A network
            of 1,000 outputs would else attack a set of ten classes towards the other 990.
    """

    classes: tuple[int, ...] | None = None

    def __init__(
        self,
        *,
        label: LabelRule = "true",
        target: TargetRule | int | None = None,
        bn: BatchNormMode = "eval",
        name: str = "attack",
    ) -> None:
        check_batch_norm_mode(bn)
        if label not in ("true", "predicted", "least_likely"):
            raise ValueError(f"label must be true, predicted or least_likely, got {label!r}.")
        if isinstance(target, str) and target not in ("least_likely", "random"):
            raise ValueError(f"target must be least_likely, random or a class index, got {target!r}.")
        self.label: LabelRule = label
        self.target: TargetRule | int | None = target
        self.bn: BatchNormMode = bn
        self.name = name

    @property
    def chooses_target(self) -> bool:
        """Whether it chooses the classes that it aims at, among :attr:`classes`."""
        return self.label == "least_likely" or isinstance(self.target, str)

    @property
    @abstractmethod
    def eps(self) -> float | None:
        """The largest distance allowed, in the attack's own norm; None where there is no bound but the box."""

    @property
    @abstractmethod
    def passes(self) -> tuple[int, int]:
        """The most forward and backward passes that an image may take."""

    @property
    @abstractmethod
    def iterations(self) -> int:
        """What tables show as the attack's number of steps (or queries)."""

    @abstractmethod
    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Attack; images are checked, the network is in the attack's mode, and gradients are on.

        Args:
            network: images to logits.
            x: ``[B, C, H, W]`` in [0, 1], without a graph.
            goal: the class question.
            keys: int64 ``[B]``.
            finish: whether the result's other fields than ``x_adv`` are wanted, if they cost passes.
        """

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if not key.startswith("_"))
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
        return self._run(network, x, y, target, keys, finish=False).x_adv

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

    def goal(self, y: Tensor | None, target: Tensor | None, keys: Tensor) -> Goal:
        """Return the class question of this attack for one batch."""
        return Goal(y, target, label_rule=self.label, target_rule=self.target, keys=keys, classes=self.classes)

    def aim(self, x: Tensor, logits: Tensor, y: Tensor | None, keys: Tensor) -> Goal:
        """Return the class question, answered, for images ``x`` whose clean ``logits`` are known already."""
        goal = self.goal(y, None, keys)
        goal.resolve(logits)
        return goal

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
        x = x.detach()
        if keys is None:
            keys = sample_keys(torch.arange(len(x), device=x.device))
        with record_function("attack"), attack_mode(network, self.bn), torch.enable_grad():
            return self.search(network, x, self.goal(y, target, keys), keys, finish=finish)


def distances(x_adv: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ‖x* − x‖∞ and ‖x* − x‖₂ of every sample, ``[B]`` each."""
    delta = (x_adv - x).flatten(1)
    return delta.abs().amax(dim=1), delta.norm(dim=1)
