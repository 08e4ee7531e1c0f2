"""Attacks along the gradient by the settings of their types."""

import math
from dataclasses import replace
from typing import Any, Literal, TypeVar

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Budget, parse_pixels
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.step import MomentumStep, NormalisedStep, SignStep, Step
from lightning_advinterp.attacks.loop.threat import THREATS, GaussianLinf, NoisyLinf, Norm, SignNoiseLinf
from lightning_advinterp.attacks.loop.translation_step import TranslationInvariantStep, gaussian_kernel
from lightning_advinterp.attacks.prediction.ensemble import Combine
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.attacks.prediction.transfer import TransferAttack

_MomentumStep = TypeVar("_MomentumStep", bound=MomentumStep)
Size = float | str | None
Loss = Literal["cross_entropy", "margin", "dlr"]
"""What is maximised; ``dlr``, the difference of logits ratio, needs 3 classes."""


def _norm(norm: Norm) -> type[Step]:
    if norm not in THREATS:
        raise ValueError(f"norm must be one of {sorted(THREATS)}, got {norm!r}.")
    return SignStep if norm == "linf" else NormalisedStep


def _step(norm: Norm, size: Size, otherwise: Step) -> Step:
    if size is None:
        return otherwise
    return _norm(norm)(parse_pixels(size, "step_size", most=None if norm == "l2" else 1.0))


def fgsm(
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
    """One step of length ε (Goodfellow et al. 2015; Dong et al. 2022, Eq. 1)."""
    step = _step(norm, step_size, _norm(norm)(1.0, relative=True))
    ball: dict[str, Any] = {"random_start": random_start, "restarts": restarts, "loss": loss, "stop_after": stop_after}
    return GradientAttack(THREATS[norm](budget), step, steps=steps, **ball, **common)


def bim(
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
    """Steps of 1/255 from the image itself, min(ε + 4, 1.25 ε) of them in 0-255 units (Kurakin et al. 2017)."""
    eps255 = 255 * budget.high
    steps = max(1, math.floor(min(eps255 + 4, 1.25 * eps255))) if steps is None else steps
    # 1/255 is longer than ε only where ε < 1/255, and then the projection shortens it
    otherwise = _norm(norm)(1 / 255) if norm == "linf" else _norm(norm)(2.5 / max(steps, 1), relative=True)
    step = _step(norm, step_size, otherwise)
    ball: dict[str, Any] = {"random_start": random_start, "restarts": restarts, "loss": loss, "stop_after": stop_after}
    return GradientAttack(THREATS[norm](budget), step, steps=steps, **ball, **common)


def pgd(
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
    """Steps from a random start (Madry et al. 2018).

    Args:
        budget: the radius.
        norm: ``linf`` or ``l2``.
        steps: number of steps.
        step_size: a step's length, in the unit of ε; left out: ε for fgsm and nfgsm, 1.25 ε for fgsm_rs, 1/255 for bim,
            2.5 ε / steps for pgd and transfer, ε / steps for mifgsm and tifgsm, 0.007 for trades.
        random_start: begin at a random point of the ball.
        restarts: repeat with new random starts and keep each sample's best.
        loss: what is maximised, ``cross_entropy``, ``margin`` or ``dlr``.
        stop_after: samples that have reached the goal after so many steps take no further ones.
        **common: what every attack takes.
    """
    step = _step(norm, step_size, _norm(norm)(2.5 / max(steps, 1), relative=True))
    ball: dict[str, Any] = {"random_start": random_start, "restarts": restarts, "loss": loss, "stop_after": stop_after}
    return GradientAttack(THREATS[norm](budget), step, steps=steps, **ball, **common)


def mifgsm(
    budget: Budget,
    *,
    steps: int = 10,
    step_size: Size = None,
    decay: float = 1.0,
    stop_after: int | None = None,
    **common: Any,
) -> GradientAttack:
    """Steps along the momentum of the gradients (Dong et al. 2018).

    Args:
        budget: the radius.
        steps: number of steps.
        step_size: a step's length; left out: ε / steps.
        decay: μ of the momentum.
        stop_after: samples that have reached the goal after so many steps take no further ones.
        **common: what every attack takes.
    """
    step = _with_momentum(MomentumStep(1 / max(steps, 1), relative=True), step_size, decay)
    return GradientAttack(THREATS["linf"](budget), step, steps=steps, stop_after=stop_after, **common)


def tifgsm(
    budget: Budget,
    *,
    steps: int = 10,
    step_size: Size = None,
    decay: float = 1.0,
    kernel: int = 15,
    stop_after: int | None = None,
    **common: Any,
) -> GradientAttack:
    """Steps that shifted copies of the image agree on, with momentum: transfers well (Dong et al. 2019).

    Args:
        budget: the radius.
        steps: number of steps.
        step_size: a step's length; left out: ε / steps.
        decay: μ of the momentum; 0 leaves it out.
        kernel: side of the Gaussian that smooths the gradient, an odd number of pixels.
        stop_after: samples that have reached the goal after so many steps take no further ones.
        **common: what every attack takes.
    """
    gaussian_kernel(kernel)  # which refuses what is none
    step = TranslationInvariantStep(1 / max(steps, 1), relative=True, kernel=kernel)
    step = _with_momentum(step, step_size, decay)
    return GradientAttack(THREATS["linf"](budget), step, steps=steps, stop_after=stop_after, **common)


def _with_momentum(step: _MomentumStep, step_size: Size, decay: float) -> _MomentumStep:
    """Return the step with μ, and with a length in pixels where one is said."""
    if decay < 0:
        raise ValueError(f"decay must be 0 or more, got {decay}.")
    if step_size is None:
        return replace(step, decay=decay)
    return replace(step, decay=decay, size=parse_pixels(step_size, "step_size"), relative=False)


def fgsm_rs(budget: Budget, *, steps: int = 1, step_size: Size = None, **common: Any) -> GradientAttack:
    """One step of 1.25 ε from a random start (Wong et al. 2020)."""
    step = _step("linf", step_size, SignStep(1.25, relative=True))
    return GradientAttack(THREATS["linf"](budget), step, steps=steps, random_start=True, **common)


def nfgsm(budget: Budget, *, steps: int = 1, step_size: Size = None, **common: Any) -> GradientAttack:
    """One step from noise of 2 ε, unclipped (de Jorge et al. 2022)."""
    step = _step("linf", step_size, SignStep(1.0, relative=True))
    return GradientAttack(NoisyLinf(budget), step, steps=steps, random_start=True, **common)


def rand_fgsm(budget: Budget, *, steps: int = 1, **common: Any) -> GradientAttack:
    """A random step of ε/2, then a gradient step of the rest (Tramèr et al. 2018)."""
    threat = SignNoiseLinf(budget)
    return GradientAttack(threat, SignStep(1 - threat.share, relative=True), steps=steps, random_start=True, **common)


def trades(budget: Budget, *, steps: int = 10, step_size: Size = None, **common: Any) -> GradientAttack:
    """Climbs the KL divergence from the clean prediction (Zhang et al. 2019)."""
    step = _step("linf", step_size, SignStep(0.007))
    return GradientAttack(GaussianLinf(budget), step, steps=steps, loss="kl", random_start=True, **common)


def transfer(
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
    """PGD on other networks, the members (Papernot et al. 2016)."""
    ball: dict[str, Any] = {"norm": norm, "random_start": random_start, "restarts": restarts, "stop_after": stop_after}
    inner = pgd(budget, steps=steps, step_size=step_size, **ball | {"loss": "negative_log"}, **common)
    return TransferAttack(inner, members, combine=combine, **common)
