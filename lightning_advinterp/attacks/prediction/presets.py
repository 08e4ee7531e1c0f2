"""Attacks by name: what builds each type from its configuration."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Budget, Eps, parse_budget, parse_pixels
from lightning_advinterp.attacks.loop.goal import LabelRule, TargetRule
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.noise import RandomSign
from lightning_advinterp.attacks.loop.step import MomentumStep, NormalisedStep, SignStep, Step
from lightning_advinterp.attacks.loop.threat import THREATS, GaussianLinf, NoisyLinf, Norm, SignNoiseLinf, ThreatModel
from lightning_advinterp.attacks.prediction.apgd import APGD
from lightning_advinterp.attacks.prediction.auto import AutoAttack
from lightning_advinterp.attacks.prediction.config import CHECKS, AttackConfig
from lightning_advinterp.attacks.prediction.fab import FAB
from lightning_advinterp.attacks.prediction.grammar import Attacks, OneAttack, attack_list, one_attack
from lightning_advinterp.attacks.prediction.optimization_presets import (
    build_carlini_wagner,
    build_ensemble,
    build_optimization,
)
from lightning_advinterp.attacks.prediction.square import Square
from lightning_advinterp.attacks.prediction.transfer import TransferAttack
from lightning_advinterp.core.registry import class_of_path, parameters_of
from lightning_advinterp.networks.modes import BatchNormMode

DEFAULT_EPS = "4/255"
"""ε of every attack within an L∞ ball that is not told another."""

_COMMON = {"type", "name", "label", "target"}
_RADIUS = {"eps", "eps_distribution"}
_LOOP = {"steps", "step_size", "stop_after"}
_BALL = {"norm", "random_start", "restarts", "loss"}
_OPTIMIZATION = _LOOP | {"weight", "distance"}


@dataclass(frozen=True)
class Builder:
    """How one type of attack is built.

    Attributes:
        build: from the configuration and the arguments that every attack takes (label, target, bn, name).
        settings: the fields of the configuration that the type knows, beside those that all know.
        eps: the default ε; None where the type has no radius.
        single: whether it takes one step and no more.
    """

    build: Callable[[AttackConfig, Budget, dict[str, Any]], Attack]
    settings: frozenset[str] | set[str]
    eps: Eps | None = DEFAULT_EPS
    single: bool = False


def _step(config: AttackConfig, kind: type[Step], otherwise: Step) -> Step:
    if config.step_size is None:
        return otherwise
    return kind(parse_pixels(config.step_size, "step_size", most=None if config.norm == "l2" else 1.0))


def _ball(config: AttackConfig, budget: Budget, common: dict[str, Any], loss: str | None = None) -> GradientAttack:
    """Build FGSM, BIM or PGD (also for ``transfer``, with a loss of its own)."""
    norm = config.norm or "linf"
    if norm not in THREATS:
        raise ValueError(f"norm must be one of {sorted(THREATS)}, got {norm!r}.")
    kind: type[Step] = SignStep if norm == "linf" else NormalisedStep
    if config.type == "fgsm":
        steps, step = 1, kind(1.0, relative=True)
    elif config.type == "bim":
        eps255 = 255 * budget.high
        steps = max(1, math.floor(min(eps255 + 4, 1.25 * eps255))) if config.steps is None else config.steps
        # 1/255 is longer than ε only where ε < 1/255, and then the projection shortens it
        step = kind(1 / 255) if norm == "linf" else kind(2.5 / max(steps, 1), relative=True)
    else:
        steps = 10 if config.steps is None else config.steps
        step = kind(2.5 / max(steps, 1), relative=True)
    return GradientAttack(
        THREATS[norm](budget),
        _step(config, kind, step),
        steps=steps,
        loss=loss or config.loss or "cross_entropy",
        random_start=config.type in ("pgd", "transfer") if config.random_start is None else config.random_start,
        restarts=1 if config.restarts is None else config.restarts,
        stop_after=config.stop_after,
        **common,
    )


def _momentum(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
    """Build MI-FGSM."""
    steps, decay = 10 if config.steps is None else config.steps, 1.0 if config.decay is None else config.decay
    if decay < 0:
        raise ValueError(f"decay must be 0 or more, got {decay}.")
    size = None if config.step_size is None else parse_pixels(config.step_size, "step_size")
    step = (
        MomentumStep(1 / max(steps, 1), relative=True, decay=decay) if size is None else MomentumStep(size, decay=decay)
    )
    return GradientAttack(THREATS["linf"](budget), step, steps=steps, stop_after=config.stop_after, **common)


def _from_noise(threat: type[ThreatModel], length: float) -> Callable[..., Attack]:
    """Return what builds a single step of ``length`` ε from a random start."""

    def build(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
        step = _step(config, SignStep, SignStep(length, relative=True))
        return GradientAttack(threat(budget), step, random_start=True, **common)

    return build


def _rand_fgsm(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
    """Build RAND+FGSM: a random step of ε/2 and a gradient step of the rest."""
    threat = SignNoiseLinf(budget)
    return GradientAttack(threat, SignStep(1 - threat.share, relative=True), random_start=True, **common)


def _trades(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
    """Build TRADES' inner attack."""
    steps = 10 if config.steps is None else config.steps
    step = _step(config, SignStep, SignStep(0.007))
    return GradientAttack(GaussianLinf(budget), step, steps=steps, loss="kl", random_start=True, **common)


def _transfer(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
    """Build PGD on other networks."""
    inner = _ball(config, budget, common, loss="negative_log")
    return TransferAttack(inner, config.members or (), combine=config.combine or "loss", **common)


def _random_sign(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
    return RandomSign(budget, **common)


def _untargeted(build: Callable[..., Attack], **always: Any) -> Callable[..., Attack]:
    """Return what builds one of AutoAttack's attacks, or all of it, with the settings that are given."""

    def from_config(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
        settings = {key: getattr(config, key) for key in ("norm", "steps", "loss", "queries")}
        return build(budget, **always | {k: v for k, v in settings.items() if v is not None}, **common)

    return from_config


BUILDERS: dict[str, Builder] = {
    "fgsm": Builder(_ball, _LOOP | _BALL, single=True),
    "bim": Builder(_ball, _LOOP | _BALL),
    "pgd": Builder(_ball, _LOOP | _BALL),
    "mifgsm": Builder(_momentum, _LOOP | {"decay"}),
    "fgsm_rs": Builder(_from_noise(THREATS["linf"], 1.25), {"steps", "step_size"}, single=True),
    "nfgsm": Builder(_from_noise(NoisyLinf, 1.0), {"steps", "step_size"}, single=True),
    "rand_fgsm": Builder(_rand_fgsm, {"steps"}, single=True),
    "trades": Builder(_trades, {"steps", "step_size"}),
    "optimization": Builder(build_optimization, _OPTIMIZATION, 1.0),
    "targeted_optimization": Builder(build_optimization, _OPTIMIZATION, 1.0),
    "ensemble": Builder(build_ensemble, _OPTIMIZATION | {"members", "combine", "targets", "target_rank"}, 1.0),
    "transfer": Builder(_transfer, _LOOP | (_BALL - {"loss"}) | {"members", "combine"}),
    "cw": Builder(build_carlini_wagner, {"steps", "step_size", "confidence", "search_steps", "initial_weight"}, None),
    "apgd": Builder(_untargeted(APGD), {"norm", "steps", "loss"}),
    "apgd_t": Builder(_untargeted(APGD, loss="dlr_targeted"), {"norm", "steps"}),
    "fab_t": Builder(_untargeted(FAB), {"norm", "steps"}),
    "square": Builder(_untargeted(Square), {"norm", "queries"}),
    "random_sign": Builder(_random_sign, set(), single=True),
    "autoattack": Builder(_untargeted(AutoAttack), {"norm", "steps", "queries"}),
}
"""Every type of attack by its name in a configuration."""


def _builder_of_class(path: str) -> Builder:
    """Return what builds an attack of the user's own: its constructor's arguments are its settings."""
    kind = class_of_path(path, Attack, "attack type")
    known = parameters_of(kind)

    def build(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
        settings = {name: value for name, value in config.given().items() if name in known and name not in common}
        options = dict(config.options or {})
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(f"options: {path} takes no {', '.join(unknown)}; it takes {', '.join(sorted(known))}.")
        try:
            attack: Attack = kind(**settings | options | common)
        except TypeError as error:  # an argument that it needs is missing
            raise ValueError(f"attack {path}: {error}") from None
        return attack

    return Builder(build, (known - _RADIUS) | {"options"}, DEFAULT_EPS if "eps" in known else None)


def builder_of(name: str) -> Builder:
    """Return the builder of a type.

    Raises:
        ValueError: if there is no such type; the nearest is named.
    """
    if "." in name:
        return _builder_of_class(name)
    if name not in BUILDERS:
        near = get_close_matches(str(name), BUILDERS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"attack type must be one of {', '.join(BUILDERS)}, got {name!r}{hint}.")
    return BUILDERS[name]


def create_attack(attack: OneAttack | Mapping[str, Any], *, bn: BatchNormMode = "eval") -> Attack:
    """Build the attack that a configuration describes.

    Args:
        attack: its settings, or its type's name; see :mod:`~lightning_advinterp.attacks.prediction.grammar`.
        bn: how BatchNorm behaves during the attack.

    Raises:
        ValueError: naming the argument, the value and what was expected.
    """
    config = one_attack(attack)
    builder = builder_of(config.type)
    known = _COMMON | builder.settings | (_RADIUS if builder.eps is not None else set())
    for setting in config.given():
        if setting not in known:
            raise ValueError(
                f"{setting} is no setting of a {config.type} attack, which takes {', '.join(sorted(known - {'type'}))}."
            )
    if builder.single and config.steps not in (None, 1):
        raise ValueError(f"{config.type} takes a single step, got steps={config.steps}; use bim or pgd for more.")
    if config.calibrated:
        raise ValueError(
            f"weight of a {config.type} attack: an evaluation can calibrate it, on images that it does not report on; "
            f"here it must be a number, got {config.weight!r}. Set weight: to the one that an evaluation found."
        )
    eps = 1.0 if builder.eps is None else builder.eps if config.eps is None else config.eps
    if config.eps is None and config.norm == "l2":
        raise ValueError(
            f"eps of a {config.type} attack in L2 has no default: give it, such as 0.5 for images of 32 px or 3 for "
            "224 px, in units of the [0, 1] range."
        )
    budget = parse_budget(eps, config.eps_distribution, most=None if config.norm == "l2" else 1.0)
    common = {"label": config.label, "target": config.target, "bn": bn, "name": config.label_name}
    return builder.build(config, budget, common)


CHECKS.append(create_attack)


def named_attacks(configs: Sequence[AttackConfig]) -> dict[str, AttackConfig]:
    """Return several attacks by their names, which must differ from each other and from "real"."""
    names = [config.label_name for config in configs]
    taken = sorted({name for name in names if names.count(name) > 1 or name == "real"})
    if taken:
        raise ValueError(f'Every attack needs a name of its own other than "real", got {names}; set name: in each.')
    return {config.label_name: config for config in configs}


def create_attacks(attacks: Attacks | Sequence[AttackConfig]) -> dict[str, Attack]:
    """Build any number of attacks, by their names, from what ``attack_list`` of ``grammar.py`` reads."""
    return {name: create_attack(config) for name, config in named_attacks(attack_list(attacks)).items()}


def fgsm(eps: Eps = DEFAULT_EPS, *, label: LabelRule = "true", target: TargetRule | int | None = None) -> Attack:
    """Fast gradient sign method, x* = clip(x + ε·sign ∇ₓL(f(x), y)) (Dong et al. 2022, Eq. 1)."""
    return create_attack(AttackConfig("fgsm", eps, label=label, target=target))


def bim(
    eps: Eps = DEFAULT_EPS,
    *,
    steps: int | None = None,
    step_size: float | str | None = None,
    label: LabelRule = "true",
    target: TargetRule | int | None = None,
) -> Attack:
    """Basic iterative method: FGSM in small steps, projected (Kurakin et al. 2017)."""
    return create_attack(AttackConfig("bim", eps, steps=steps, step_size=step_size, label=label, target=target))


def pgd(
    eps: Eps = DEFAULT_EPS,
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
