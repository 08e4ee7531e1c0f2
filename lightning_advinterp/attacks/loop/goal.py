"""Objectives of attacks on predictions: what is maximised, per sample, and with respect to which class."""

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.core.inputs import check_range
from lightning_advinterp.core.randomness import uniform

LabelRule = Literal["true", "predicted", "least_likely"]
TargetRule = Literal["least_likely", "random"]
_TARGET_STREAM = 0x746172676574  # "target"

ClassLoss = Callable[[Tensor, Tensor], Tensor]


def full_precision(logits: Tensor) -> Tensor:
    """Logits in at least float32: differences of half-precision losses drown in rounding."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of every sample, ``[B, K], [B] -> [B]``."""
    return F.cross_entropy(full_precision(logits), label, reduction="none")


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """max_{j≠y} z_j − z_y of every sample: positive where the label is lost (Carlini & Wagner 2017)."""
    logits = full_precision(logits)
    logit = logits.gather(1, label[:, None]).squeeze(1)
    rivals = logits.scatter(1, label[:, None], -torch.inf).amax(dim=1)
    return rivals - logit


def difference_of_logits_ratio(logits: Tensor, label: Tensor) -> Tensor:
    """DLR of every sample: (max_{j≠y} z_j − z_y) / (z_π1 − z_π3), with π the classes by falling logit.

    Blind to the logits' scale and shift, unlike the cross-entropy (Croce & Hein 2020, Eq. 6).

    Raises:
        ValueError: if the network has fewer than 3 classes.
    """
    logits = full_precision(logits)
    check_least_classes(logits, 3, "DLR")
    top = logits.topk(3, dim=1).values
    return margin(logits, label) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_difference_of_logits_ratio(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR of every sample: (z_t − z_y) / (z_π1 − (z_π3 + z_π4) / 2) (Croce & Hein 2020, Eq. 7).

    Raises:
        ValueError: if the network has fewer than 4 classes.
    """
    logits = full_precision(logits)
    check_least_classes(logits, 4, "targeted DLR")
    top = logits.topk(4, dim=1).values
    true_logit, target_logit = (logits.gather(1, index[:, None]).squeeze(1) for index in (label, target))
    return (target_logit - true_logit) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def check_least_classes(logits: Tensor, least: int, loss: str) -> None:
    """Refuse logits ``[B, K]`` of a network with fewer classes than a loss compares."""
    if logits.shape[1] < least:
        raise ValueError(f"{loss} compares {least} logits: the network has {logits.shape[1]} classes.")


def kl_divergence(logits: Tensor, clean: Tensor) -> Tensor:
    """KL(p(x) ‖ p(x*)) of every sample, ``[B, K], [B, K] -> [B]``, from the logits at x* and at x (TRADES)."""
    log_p, log_q = full_precision(clean).log_softmax(1), full_precision(logits).log_softmax(1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def negative_log(log_probabilities: Tensor, label: Tensor) -> Tensor:
    """−log p_y of every sample, for networks that return (means of) log-probabilities instead of logits."""
    return -full_precision(log_probabilities).gather(1, label[:, None]).squeeze(1)


LOSSES: dict[str, ClassLoss] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
    "dlr": difference_of_logits_ratio,
    "kl": kl_divergence,
    "negative_log": negative_log,
}


def random_targets(label: Tensor, num_classes: int, keys: Tensor) -> Tensor:
    """Draw a class other than ``label`` for every sample, from its key; all others are equally likely."""
    if num_classes < 2:
        return label.clone()  # there is no other
    draw = uniform(keys, (), stream=_TARGET_STREAM).double() * (num_classes - 1)
    target = draw.long().clamp(max=num_classes - 2)
    return target + (target >= label).long()


def least_likely(logits: Tensor, y: Tensor | None, classes: Tensor | None = None) -> Tensor:
    """Return the class of the lowest logit other than the true one, int64 ``[B]``, from logits ``[B, K]``.

    Args:
        logits: of the clean images.
        y: int64 ``[B]``, the true classes, below 0 where unknown; None: any class may be the target.
        classes: outputs to choose among, int64 ``[n]``, rising; None: all. Where the true class is the only one, it is
            returned.
    """
    scores = without_class(logits, y, torch.inf)
    return scores.argmin(dim=1) if classes is None else classes[scores[:, classes].argmin(dim=1)]


def without_class(scores: Tensor, y: Tensor | None, value: float) -> Tensor:
    """Return scores ``[B, K]`` with ``value`` for every sample's class ``y``, int64 ``[B]``, where it is known."""
    if y is None:
        return scores
    place = y.clamp(min=0)[:, None]
    return scores.scatter(1, place, torch.where(y[:, None] < 0, scores.gather(1, place), value))


class Goal:
    """The class that an attack moves away from, or towards.

    Where the class depends on the network's output (predicted label, least likely target), it is chosen from the
    clean logits, the first ones that :meth:`resolve` is shown. An attack that starts at the image itself gets
    them from its own first forward pass, at no extra cost.

    Args:
        y: int64 ``[B]``, true labels, below 0 where unknown; may be missing unless the rule is ``true``. The true class
            is never chosen as a target.
        target: int64 ``[B]``, given targets: the attack is targeted, and every rule is set aside.
        label_rule: ``true``; ``predicted`` (no label leaking); ``least_likely`` (targeted at that class).
        target_rule: ``least_likely``, ``random`` or a class index for a targeted attack.
        keys: int64 ``[B]``, for random targets.
        classes: outputs among which targets are chosen, rising; None: all.

    Attributes:
        clean: logits ``[B, K]`` of the clean images, for losses that compare with them instead of with a class.
        checked: whether given classes are known to be outputs of the network.
        mask: bool ``[B, 1, H, W]``, the pixels that may change; None: all.
    """

    clean: Tensor | None = None
    checked: bool = False
    mask: Tensor | None = None

    def __init__(
        self,
        y: Tensor | None,
        target: Tensor | None,
        *,
        label_rule: LabelRule = "true",
        target_rule: TargetRule | int | None = None,
        keys: Tensor,
        classes: tuple[int, ...] | None = None,
    ) -> None:
        if target_rule is None and label_rule == "least_likely":
            target_rule = "least_likely"
        self.targeted = target is not None or target_rule is not None
        self._rule = None if target is not None else target_rule if self.targeted else label_rule
        self._y, self._keys, self._classes = y, keys, classes
        self._label: Tensor | None = target
        self._in_range = False
        if target is None and isinstance(target_rule, int):
            self._label = torch.full_like(keys, target_rule)
        if not self.targeted and label_rule == "true":
            if y is None:
                raise ValueError('The attack\'s label rule is "true": pass y, or choose label: predicted.')
            self._label = y

    @property
    def resolved(self) -> bool:
        """Whether the class is known already, so that no clean logits are needed."""
        return self._label is not None

    def reach(self, radius: Tensor) -> Tensor:
        """Return how far each pixel may move: ``[B, 1, 1, 1]`` radii, or ``[B, 1, H, W]`` where some must stay."""
        return radius if self.mask is None else radius * self.mask

    @property
    def true_class(self) -> Tensor | None:
        """The true class of every sample, int64 ``[B]``, below 0 where unknown; None: of none."""
        return self._y

    def aimed(self, target: Tensor) -> "Goal":
        """Return the goal with chosen targets, int64 ``[B]``, outputs of the network."""
        aimed = copy.copy(self)
        aimed.targeted, aimed._rule, aimed._label, aimed._in_range = True, None, target, True
        return aimed

    @property
    def label(self) -> Tensor:
        """The class of every sample, int64 ``[B]``; it must be known."""
        if self._label is None:
            raise RuntimeError("the class is not known before the clean logits are: call resolve with them first")
        return self._label

    @property
    def attacked(self) -> Tensor | None:
        """Whether there is something to attack, bool ``[B]``: a target that is the true class is no attack.

        None: every sample is attacked, as those of an attack without targets are.
        """
        if not self.targeted or self._y is None or self._label is None:
            return None
        return self._label != self._y

    def resolve(self, logits: Tensor) -> Tensor:
        """Return the class of every sample, int64 ``[B]``; the first call's ``[B, K]`` logits decide."""
        if self._label is None:
            self._label, self._in_range = self._choose(logits.detach()), True
        if not self._in_range:
            self._check_range(logits.shape[1])
        return self._label

    def _check_range(self, num_classes: int) -> None:
        """Refuse classes that the network does not have: once, since it waits for the device."""
        self._in_range = True
        if isinstance(self._rule, int):
            if not 0 <= self._rule < num_classes:
                raise ValueError(
                    f"target must be least_likely, random or a class index in [0, {num_classes - 1}], "
                    f"got {self._rule!r}."
                )
        elif not self.checked:
            check_range(self.label, num_classes, "target" if self.targeted else "y")

    def take(self, indices: Tensor) -> "Goal":
        """Return the goal of some samples of the batch, int64 ``[b]``; the class must be resolved."""
        part = copy.copy(self)
        part._keys = self._keys[indices]
        part._y = None if self._y is None else self._y[indices]
        part._label = None if self._label is None else self._label[indices]
        part.clean = None if self.clean is None else self.clean[indices]
        part.mask = None if self.mask is None else self.mask[indices]
        return part

    def _choose(self, logits: Tensor) -> Tensor:
        if self._rule == "predicted":
            return logits.argmax(dim=1)
        if self._classes is not None:
            return self._choose_within(logits, torch.tensor(self._classes, device=logits.device))
        if self._rule == "least_likely":
            return least_likely(logits, self._y)
        away_from = logits.argmax(dim=1)
        if self._y is not None:
            away_from = torch.where(self._y < 0, away_from, self._y)
        return random_targets(away_from, logits.shape[1], self._keys)

    def _choose_within(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Choose a target as if the network had only these outputs, int64 ``[n]``, rising."""
        within = logits[:, classes]
        if self._rule == "least_likely":
            return least_likely(logits, self._y, classes)
        place = within.argmax(dim=1)
        if self._y is not None:
            place = torch.searchsorted(classes, self._y).clamp(max=len(classes) - 1)
            if not torch.equal(classes[place], self._y):
                raise ValueError(
                    f"y: some labels are none of the {len(classes)} classes among which targets are chosen."
                )
        return classes[random_targets(place, len(classes), self._keys)]

    def reached(self, logits: Tensor) -> Tensor:
        """Whether the prediction is what the attack wanted, bool ``[B]``; NaN predicts nothing."""
        hit = logits.argmax(dim=1) == self.resolve(logits)
        return (hit if self.targeted else ~hit) & ~logits.isnan().any(dim=1)

    def exceeded(self, logits: Tensor, confidence: float) -> Tensor:
        """Whether the goal is exceeded by κ, bool ``[B]``: the class's logit is moved by κ against the attack."""
        label = self.resolve(logits)[:, None]
        handicap = logits.new_full(label.shape, -confidence if self.targeted else confidence)
        return self.reached(logits.scatter_add(1, label, handicap))

    def gain(self, logits: Tensor, loss: ClassLoss) -> Tensor:
        """What the attack maximises, ``[B]``: the loss of the class, or its negative towards a target."""
        value = loss(logits, self.resolve(logits) if self.clean is None else self.clean)
        return -value if self.targeted else value
