"""Attacks by name: the configuration that YAML, flags and Python share, and what it builds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_advinterp.attacks.attack import Attack
from lightning_advinterp.attacks.budget import Budget, Distribution, Eps, parse_budget, parse_pixels
from lightning_advinterp.attacks.prediction import LabelRule, TargetRule
from lightning_advinterp.attacks.step import NormalisedStep, SignStep, Step
from lightning_advinterp.attacks.threat import THREATS, Norm
from lightning_advinterp.networks.modes import BatchNormMode

AttackType = Literal["fgsm", "bim", "pgd"]


@dataclass(frozen=True)
class AttackConfig:
    """One attack, as a configuration says it.

    Attributes:
        type: ``fgsm`` (one step of length ε; Goodfellow et al. 2015, Dong et al. 2022 Eq. 1), ``bim`` (steps of
            1/255 from the image itself; Kurakin et al. 2017) or ``pgd`` (random start; Madry et al. 2018).
        eps: ε, a fraction of the [0, 1] range or a string such as "4/255"; [low, high] draws it per sample.
        name: what tables and log keys call it; the type when left out.
        norm: ``linf`` or ``l2``.
        steps: number of steps; left out: 1 for fgsm, min(ε+4, 1.25ε) in 0-255 units for bim, 10 for pgd.
        step_size: a step's length, in the unit of ε; left out: ε for fgsm, 1/255 for bim, 2.5 ε / steps for pgd.
        random_start: begin at a random point of the ball; left out: yes for pgd, no for the others.
        restarts: repeat with new random starts and keep each sample's best.
        loss: what is maximised, ``cross_entropy`` or ``margin``.
        label: the class to move away from: ``true``, ``predicted``, or ``least_likely`` (towards it).
        target: ``least_likely``, ``random`` or a class index makes the attack targeted.
        eps_distribution: how [low, high] is drawn: ``uniform`` or ``truncated_normal``.
    """

    type: AttackType = "fgsm"
    eps: Eps = "4/255"
    name: str | None = None
    norm: Norm = "linf"
    steps: int | None = None
    step_size: float | str | None = None
    random_start: bool | None = None
    restarts: int = 1
    loss: Literal["cross_entropy", "margin"] = "cross_entropy"
    label: LabelRule = "true"
    target: TargetRule | int | None = None
    eps_distribution: Distribution = "uniform"

    def __post_init__(self) -> None:
        create_attack(self)  # a wrong value shows when the configuration is read, not hours later

    @property
    def budget(self) -> Budget:
        """The parsed ε; L2 distances may exceed 1."""
        return parse_budget(self.eps, self.eps_distribution, most=None if self.norm == "l2" else 1.0)

    @property
    def label_name(self) -> str:
        """What tables and log keys call the attack."""
        return self.name or self.type


def _default_steps(config: AttackConfig) -> int:
    if config.type == "bim":
        eps255 = 255 * config.budget.high
        return max(1, math.floor(min(eps255 + 4, 1.25 * eps255)))
    return 10 if config.type == "pgd" else 1


def _step(config: AttackConfig, steps: int) -> Step:
    kind = SignStep if config.norm == "linf" else NormalisedStep
    if config.step_size is not None:
        return kind(parse_pixels(config.step_size, "step_size", most=None if config.norm == "l2" else 1.0))
    if config.type == "bim" and config.norm == "linf":
        return kind(1 / 255)  # longer than ε only where ε < 1/255, and then the projection shortens it
    return kind(1.0 if config.type == "fgsm" else 2.5 / max(steps, 1), relative=True)


def create_attack(config: AttackConfig, *, bn: BatchNormMode = "eval") -> Attack:
    """Build the attack that a configuration describes.

    Args:
        config: its settings.
        bn: how BatchNorm behaves during the attack.

    Raises:
        ValueError: naming the argument, the value and what was expected.
    """
    if config.type not in ("fgsm", "bim", "pgd"):
        raise ValueError(f"attack type must be fgsm, bim or pgd, got {config.type!r}.")
    if config.norm not in THREATS:
        raise ValueError(f"norm must be one of {sorted(THREATS)}, got {config.norm!r}.")
    steps = _default_steps(config) if config.steps is None else config.steps
    if config.type == "fgsm" and steps != 1:
        raise ValueError(f"fgsm takes a single step, got steps={steps}; use type: bim or pgd for more.")
    random_start = config.type == "pgd" if config.random_start is None else config.random_start
    return Attack(
        THREATS[config.norm](config.budget),
        _step(config, steps),
        steps=steps,
        loss=config.loss,
        random_start=random_start,
        restarts=config.restarts,
        label=config.label,
        target=config.target,
        bn=bn,
        name=config.label_name,
    )


def create_attacks(configs: Sequence[AttackConfig]) -> dict[str, Attack]:
    """Build several attacks, by their names, which must differ from each other and from "real"."""
    names = [config.label_name for config in configs]
    taken = sorted({name for name in names if names.count(name) > 1 or name == "real"})
    if taken:
        raise ValueError(f'Every attack needs a name of its own other than "real", got {names}; set name: in each.')
    return {config.label_name: create_attack(config) for config in configs}


def fgsm(eps: Eps = "4/255", *, label: LabelRule = "true", target: TargetRule | int | None = None) -> Attack:
    """Fast gradient sign method, x* = clip(x + ε·sign ∇ₓL(f(x), y)) (Dong et al. 2022, Eq. 1)."""
    return create_attack(AttackConfig("fgsm", eps, label=label, target=target))


def bim(
    eps: Eps = "4/255",
    *,
    steps: int | None = None,
    step_size: float | str | None = None,
    label: LabelRule = "true",
    target: TargetRule | int | None = None,
) -> Attack:
    """Basic iterative method: FGSM in small steps, projected (Kurakin et al. 2017)."""
    return create_attack(AttackConfig("bim", eps, steps=steps, step_size=step_size, label=label, target=target))


def pgd(
    eps: Eps = "8/255",
    *,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: float | str | None = None,
    random_start: bool = True,
    restarts: int = 1,
    label: LabelRule = "true",
    target: TargetRule | int | None = None,
) -> Attack:
    """Projected gradient descent with a random start (Madry et al. 2018)."""
    return create_attack(
        AttackConfig(
            "pgd",
            eps,
            norm=norm,
            steps=steps,
            step_size=step_size,
            random_start=random_start,
            restarts=restarts,
            label=label,
            target=target,
        )
    )
