"""What every attack is: images in, adversarial images out, and the network as it was."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from copy import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from lightning_advinterp.attacks.loop.goal import Goal, LabelRule, TargetRule
from lightning_advinterp.attacks.loop.mask import Masked, pixels_of
from lightning_advinterp.attacks.loop.per_image import PerImage
from lightning_advinterp.core.inputs import checked_batch, outside_inference_mode, recordable
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.networks.modes import BatchNormMode, attack_mode, check_batch_norm_mode
from lightning_advinterp.networks.network import Network


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
        zero_gradient: bool ``[B]``, whether every gradient that the attack took was exactly zero (saturated outputs, a
            quantised or detached input, or one without effect): such an image was not attacked in earnest.
        nonfinite: bool ``[B]``, whether the objective or a gradient was NaN or infinite on the way.
        attacked: bool ``[B]``, false where the target is the image's true class: such an image comes back unchanged.
    """

    x_adv: Tensor
    target: Tensor
    success: Tensor
    linf: Tensor
    l2: Tensor
    trace: Tensor
    zero_gradient: Tensor
    nonfinite: Tensor
    attacked: Tensor


class Attack(PerImage, Masked, ABC):
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
        restarts: how many random starts it makes.
    """

    classes: tuple[int, ...] | None = None
    restarts: int = 1
    _config: object = None  # the settings that it was built from, see AttackConfig.create

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

    def weighted(self, weight: float) -> Self:
        """Return this attack with another weight λ, where it minimises a weighted sum.

        Raises:
            ValueError: if it does not.
        """
        raise ValueError(f"{self.name} has no weight.")

    def within(self, classes: Collection[int] | None) -> Self:
        """Return this attack, choosing its targets among some outputs.

        Args:
            classes: the outputs, in any order; None: all.
        """
        narrowed = copy(self)
        narrowed.classes = None if classes is None else tuple(sorted(classes))
        return narrowed

    @property
    def chooses_target(self) -> bool:
        """Whether it chooses the classes that it aims at, among :attr:`classes`."""
        return self.target_list is None and (self.label == "least_likely" or isinstance(self.target, str))

    @property
    def targeted(self) -> bool:
        """Whether its settings aim at classes."""
        return self.target_list is not None or self.target is not None or self.label == "least_likely"

    @property
    def aims_at(self) -> str | int | None:
        """What tables call the target: the rule, the class, the list's file, or None for an attack without."""
        if self.target_list is not None:
            return self.target_list.path.name
        return "least_likely" if self.label == "least_likely" and self.target is None else self.target

    @property
    def takes_target(self) -> bool:
        """Whether a call may name the classes to aim at."""
        return True

    @property
    def takes_target_list(self) -> bool:
        """Whether a file may name them."""
        return self.takes_target

    def check_network(self, network: Network) -> None:
        """Refuse, before any work, a network that the attack cannot be made for.

        Raises:
            ValueError: saying why.
            FileNotFoundError: if the attack needs a file that is not there.
        """
        if self.target_list is not None and self.target_list.largest >= network.num_classes:
            raise ValueError(
                f"target_file: {self.target_list.path} aims at class {self.target_list.largest}, and the outputs of "
                f"{network.name} are 0 to {network.num_classes - 1}."
            )

    @property
    @abstractmethod
    def eps(self) -> float | None:
        """The largest distance allowed, in the attack's own norm; None where there is no bound but the box."""

    @property
    def eps_low(self) -> float | None:
        """The smallest distance that is drawn for an image; the largest where all are alike."""
        return self.eps

    @property
    def eps_norm(self) -> str | None:
        """The norm of ``eps``, ``linf`` or ``l2``; None where there is no bound but the box."""
        return None if self.eps is None else "linf"

    @property
    @abstractmethod
    def passes(self) -> tuple[int, int]:
        """The most forward and backward passes that an image may take, without those of a mask."""

    @property
    def cost(self) -> tuple[int, int]:
        """:attr:`passes`, and what the choice of a mask's pixels takes: the clean logits and the mask's own passes."""
        forwards, backwards = self.passes
        if self.mask is None:
            return forwards, backwards
        more_forwards, more_backwards = self.mask.passes
        return forwards + 1 + more_forwards, backwards + more_backwards

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
            y: ``[B]``, true labels, integers; not needed where the label rule or the target does without.
            target: ``[B]``, the classes to aim at; an image whose true class it is comes back unchanged.
            keys: int64 ``[B]`` from :func:`~lightning_advinterp.core.randomness.sample_keys`; all random
                draws of a sample come from its key. Left out, a sample's place in the batch is its key.

        Returns:
            Tensor like ``x``, inside the threat model, without a graph.
        """
        return self._run(network, x, y, target, keys, finish=False).x_adv

    def perturb(
        self, network: nn.Module, x: Tensor, y: Tensor | None, *, target: Tensor | None, keys: Tensor
    ) -> AttackResult:
        """Like a call, at the same cost, with what is known by the way; success is not."""
        return self._run(network, x, y, target, keys, finish=False)

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
        target = self.listed(self._index) if target is None else target
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
        with outside_inference_mode(network), record_function("attack"):
            num_classes = getattr(network, "num_classes", None)
            x, classes = checked_batch(x, {"y": y, "target": target}, num_classes)
            keys = sample_keys(torch.arange(len(x), device=x.device)) if keys is None else recordable(keys)
            goal = self.goal(classes["y"], classes["target"], keys)
            goal.checked = num_classes is not None
            with attack_mode(network, self.bn), torch.enable_grad():
                if self.mask is not None:
                    with torch.no_grad():
                        logits = network(x)
                    goal = goal if goal.resolved else self.aim(x, logits, classes["y"], keys)
                    goal.mask = pixels_of(self.mask, network, x, logits, goal)
                result = self.search(network, x, goal, keys, finish=finish)
            return left_out(result, x, goal)


def left_out(result: AttackResult, x: Tensor, goal: Goal) -> AttackResult:
    """Give images back as they were where the target is the true class."""
    attacked = goal.attacked
    if attacked is None:
        return result
    return result._replace(
        x_adv=torch.where(attacked[:, None, None, None], result.x_adv, x),
        success=result.success & attacked,
        linf=result.linf * attacked,
        l2=result.l2 * attacked,
        attacked=attacked,
    )


def unnoted(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the last fields of a result of which nothing is to be said, bool ``[B]`` each, like ``like``."""
    no = torch.zeros_like(like)
    return no, no.clone(), ~no


def distances(x_adv: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ‖x* − x‖∞ and ‖x* − x‖₂ of every sample, ``[B]`` each."""
    delta = (x_adv - x).flatten(1)
    return delta.abs().amax(dim=1), delta.norm(dim=1)
