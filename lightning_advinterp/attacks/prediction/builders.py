"""Attacks by name: callables whose keyword arguments are the settings of their type, with its defaults."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Budget, Eps, parse_pixels
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.noise import RandomSign
from lightning_advinterp.attacks.loop.step import MomentumStep, NormalisedStep, SignStep, Step
from lightning_advinterp.attacks.loop.threat import THREATS, GaussianLinf, NoisyLinf, Norm, SignNoiseLinf
from lightning_advinterp.attacks.prediction.apgd import APGD
from lightning_advinterp.attacks.prediction.auto import AutoAttack
from lightning_advinterp.attacks.prediction.ensemble import Combine
from lightning_advinterp.attacks.prediction.fab import FAB
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.attacks.prediction.optimization_presets import (
    carlini_wagner,
    elastic_net,
    ensemble,
    optimization,
    targeted_optimization,
)
from lightning_advinterp.attacks.prediction.square import Square
from lightning_advinterp.attacks.prediction.stored import Missing, StoredAttack, StoredPath
from lightning_advinterp.attacks.prediction.transfer import TransferAttack
from lightning_advinterp.core.registry import class_of_path, entry_of
from lightning_advinterp.core.signatures import Setting, settings_of

DEFAULT_EPS = "4/255"
"""ε of every attack within an L∞ ball that is not told another."""

COMMON = ("label", "target", "bn", "name")
"""What every attack takes."""

Size = float | str | None
Loss = Literal["cross_entropy", "margin", "dlr"]
"""What is maximised; ``dlr``, the difference of logits ratio, needs 3 classes."""


@dataclass(frozen=True)
class Builder:
    """How one type of attack is built.

    Attributes:
        build: takes the type's settings by name, then what every attack takes, and the ``budget`` where there is a
            radius. Settings that are left out are its defaults.
        eps: the default ε; None where the type has no radius.
        single: whether it takes one step and no more.
        described: the callable whose signature and docstring say the settings; ``build`` by default.
    """

    build: Callable[..., Attack]
    eps: Eps | None = DEFAULT_EPS
    single: bool = False
    described: Callable[..., Attack] | None = None

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The type's settings beside the radius, by name: the keyword arguments of ``build``."""
        settings = settings_of(self.described or self.build)
        return {name: setting for name, setting in settings.items() if name not in COMMON}


def _norm(norm: Norm) -> type[Step]:
    if norm not in THREATS:
        raise ValueError(f"norm must be one of {sorted(THREATS)}, got {norm!r}.")
    return SignStep if norm == "linf" else NormalisedStep


def _step(norm: Norm, size: Size, otherwise: Step) -> Step:
    if size is None:
        return otherwise
    return _norm(norm)(parse_pixels(size, "step_size", most=None if norm == "l2" else 1.0))


def _fgsm(
    budget: Budget,
    *,
    norm: Norm = "linf",
    steps: int = 1,
    step_size: Size = None,
    random_start: bool = False,
    restarts: int = 1,
    loss: Loss = "cross_entropy",
    stop_after: int | None = None,
    **common: Any,
) -> GradientAttack:
    step = _step(norm, step_size, _norm(norm)(1.0, relative=True))
    ball: dict[str, Any] = {"random_start": random_start, "restarts": restarts, "loss": loss, "stop_after": stop_after}
    return GradientAttack(THREATS[norm](budget), step, steps=steps, **ball, **common)


def _bim(
    budget: Budget,
    *,
    norm: Norm = "linf",
    steps: int | None = None,
    step_size: Size = None,
    random_start: bool = False,
    restarts: int = 1,
    loss: Loss = "cross_entropy",
    stop_after: int | None = None,
    **common: Any,
) -> GradientAttack:
    eps255 = 255 * budget.high
    steps = max(1, math.floor(min(eps255 + 4, 1.25 * eps255))) if steps is None else steps
    # 1/255 is longer than ε only where ε < 1/255, and then the projection shortens it
    otherwise = _norm(norm)(1 / 255) if norm == "linf" else _norm(norm)(2.5 / max(steps, 1), relative=True)
    step = _step(norm, step_size, otherwise)
    ball: dict[str, Any] = {"random_start": random_start, "restarts": restarts, "loss": loss, "stop_after": stop_after}
    return GradientAttack(THREATS[norm](budget), step, steps=steps, **ball, **common)


def _pgd(
    budget: Budget,
    *,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: Size = None,
    random_start: bool = True,
    restarts: int = 1,
    loss: Loss = "cross_entropy",
    stop_after: int | None = None,
    **common: Any,
) -> GradientAttack:
    step = _step(norm, step_size, _norm(norm)(2.5 / max(steps, 1), relative=True))
    ball: dict[str, Any] = {"random_start": random_start, "restarts": restarts, "loss": loss, "stop_after": stop_after}
    return GradientAttack(THREATS[norm](budget), step, steps=steps, **ball, **common)


def _mifgsm(
    budget: Budget,
    *,
    steps: int = 10,
    step_size: Size = None,
    decay: float = 1.0,
    stop_after: int | None = None,
    **common: Any,
) -> GradientAttack:
    if decay < 0:
        raise ValueError(f"decay must be 0 or more, got {decay}.")
    if step_size is None:
        step = MomentumStep(1 / max(steps, 1), relative=True, decay=decay)
    else:
        step = MomentumStep(parse_pixels(step_size, "step_size"), decay=decay)
    return GradientAttack(THREATS["linf"](budget), step, steps=steps, stop_after=stop_after, **common)


def _fgsm_rs(budget: Budget, *, steps: int = 1, step_size: Size = None, **common: Any) -> GradientAttack:
    step = _step("linf", step_size, SignStep(1.25, relative=True))
    return GradientAttack(THREATS["linf"](budget), step, steps=steps, random_start=True, **common)


def _nfgsm(budget: Budget, *, steps: int = 1, step_size: Size = None, **common: Any) -> GradientAttack:
    step = _step("linf", step_size, SignStep(1.0, relative=True))
    return GradientAttack(NoisyLinf(budget), step, steps=steps, random_start=True, **common)


def _rand_fgsm(budget: Budget, *, steps: int = 1, **common: Any) -> GradientAttack:
    """A random step of ε/2 and a gradient step of the rest."""
    threat = SignNoiseLinf(budget)
    return GradientAttack(threat, SignStep(1 - threat.share, relative=True), steps=steps, random_start=True, **common)


def _trades(budget: Budget, *, steps: int = 10, step_size: Size = None, **common: Any) -> GradientAttack:
    step = _step("linf", step_size, SignStep(0.007))
    return GradientAttack(GaussianLinf(budget), step, steps=steps, loss="kl", random_start=True, **common)


def _transfer(
    budget: Budget,
    *,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: Size = None,
    random_start: bool = True,
    restarts: int = 1,
    stop_after: int | None = None,
    members: tuple[Member, ...] = (),
    combine: Combine = "loss",
    **common: Any,
) -> Attack:
    """PGD on other networks."""
    ball: dict[str, Any] = {"norm": norm, "random_start": random_start, "restarts": restarts, "stop_after": stop_after}
    inner = _pgd(budget, steps=steps, step_size=step_size, **ball | {"loss": "negative_log"}, **common)
    return TransferAttack(inner, members, combine=combine, **common)


def _apgd(
    budget: Budget,
    *,
    norm: Norm = "linf",
    steps: int = 100,
    loss: Literal["cross_entropy", "dlr"] = "cross_entropy",
    **common: Any,
) -> Attack:
    return APGD(budget, norm=norm, steps=steps, loss=loss, **common)


def _apgd_t(budget: Budget, *, norm: Norm = "linf", steps: int = 100, **common: Any) -> Attack:
    return APGD(budget, norm=norm, steps=steps, loss="dlr_targeted", **common)


def _fab_t(budget: Budget, *, norm: Norm = "linf", steps: int = 100, **common: Any) -> Attack:
    return FAB(budget, norm=norm, steps=steps, **common)


def _square(budget: Budget, *, norm: Norm = "linf", queries: int = 5000, **common: Any) -> Attack:
    return Square(budget, norm=norm, queries=queries, **common)


def _autoattack(budget: Budget, *, norm: Norm = "linf", steps: int = 100, queries: int = 5000, **common: Any) -> Attack:
    return AutoAttack(budget, norm=norm, steps=steps, queries=queries, **common)


def _stored(
    *,
    path: StoredPath = "",
    missing: Missing = "error",
    target_rank: int | None = None,
    eps: Eps | None = None,
    **common: Any,
) -> Attack:
    """Images that are there already."""
    if isinstance(eps, list | tuple):
        raise ValueError(f"eps of a stored attack must be one radius, which no image exceeds, got {eps!r}.")
    radius = None if eps is None else parse_pixels(eps, "eps")
    return StoredAttack(path, missing=missing, rank=target_rank, eps=radius, **common)


def _random_sign(budget: Budget, **common: Any) -> Attack:
    return RandomSign(budget, **common)


BUILDERS: dict[str, Builder] = {
    "fgsm": Builder(_fgsm, single=True),
    "bim": Builder(_bim),
    "pgd": Builder(_pgd),
    "mifgsm": Builder(_mifgsm),
    "fgsm_rs": Builder(_fgsm_rs, single=True),
    "nfgsm": Builder(_nfgsm, single=True),
    "rand_fgsm": Builder(_rand_fgsm, single=True),
    "trades": Builder(_trades),
    "optimization": Builder(optimization, 1.0),
    "targeted_optimization": Builder(targeted_optimization, 1.0),
    "ensemble": Builder(ensemble, 1.0),
    "transfer": Builder(_transfer),
    "cw": Builder(carlini_wagner, None),
    "ead": Builder(elastic_net, None),
    "apgd": Builder(_apgd),
    "apgd_t": Builder(_apgd_t),
    "fab_t": Builder(_fab_t),
    "square": Builder(_square),
    "random_sign": Builder(_random_sign, single=True),
    "stored": Builder(_stored, None),
    "autoattack": Builder(_autoattack),
}
"""Every type of attack by its name in a configuration."""


def _builder_of_class(path: str) -> Builder:
    """Return what builds an attack of the user's own: its constructor's arguments are its settings."""
    kind = class_of_path(path, Attack, "attack type")

    def build(**settings: Any) -> Attack:
        try:
            attack: Attack = kind(**settings)
        except TypeError as error:  # an argument that it needs is missing
            raise ValueError(f"attack {path}: {error}") from None
        return attack

    return Builder(build, DEFAULT_EPS if "eps" in settings_of(kind) else None, described=kind)


def builder_of(name: str) -> Builder:
    """Return the builder of a type.

    Raises:
        ValueError: if there is no such type; the nearest is named.
    """
    return _builder_of_class(name) if "." in name else entry_of(name, BUILDERS, "attack type")
