"""Optimisation attacks by the settings of their types."""

from typing import Any, Literal

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Budget, parse_pixels
from lightning_advinterp.attacks.loop.step import AdamStep
from lightning_advinterp.attacks.loop.threat import Linf
from lightning_advinterp.attacks.prediction.carlini_wagner import CarliniWagnerAttack
from lightning_advinterp.attacks.prediction.elastic_net import Decision, ElasticNetAttack
from lightning_advinterp.attacks.prediction.ensemble import Combine
from lightning_advinterp.attacks.prediction.ensemble_attack import EnsembleAttack
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.attacks.prediction.optimization import Distance, OptimizationAttack, check_weight

Weight = float | Literal["calibrate"]
"""λ, before the loss; an evaluation finds ``calibrate`` on other images."""


def optimization(
    budget: Budget,
    *,
    weight: Weight | None = None,
    distance: Distance = "mean",
    steps: int = 20,
    step_size: float | str = "5/255",
    stop_after: int = 10,
    **common: Any,
) -> OptimizationAttack:
    """Build Eq. 2."""
    target, label = common.get("target"), common.get("label")
    if target is not None or label == "least_likely":
        raise ValueError(
            f"optimization has no target, got target={target!r} and label={label!r}; use targeted_optimization."
        )
    settings: dict[str, Any] = {"weight": weight, "distance": distance, "stop_after": stop_after}
    return _adam(budget, steps=steps, step_size=step_size, **settings, **common)


def targeted_optimization(
    budget: Budget,
    *,
    weight: Weight | None = None,
    distance: Distance = "mean",
    steps: int = 20,
    step_size: float | str = "5/255",
    stop_after: int = 10,
    **common: Any,
) -> OptimizationAttack:
    """Build Eq. 4."""
    settings: dict[str, Any] = {"weight": weight, "distance": distance, "stop_after": stop_after}
    return _adam(budget, steps=steps, step_size=step_size, **settings, **_aimed(common))


def ensemble(
    budget: Budget,
    *,
    members: tuple[Member, ...] = (),
    combine: Combine = "loss",
    targets: int | None = None,
    target_rank: int | None = None,
    weight: Weight | None = None,
    distance: Distance = "mean",
    steps: int = 20,
    step_size: float | str = "5/255",
    stop_after: int = 10,
    **common: Any,
) -> Attack:
    """Build Eq. 4 on several networks."""
    if common.get("target") not in (None, "least_likely") and (targets, target_rank) != (None, None):
        raise ValueError(
            f"targets and target_rank count least likely classes; leave them out with target={common['target']!r}."
        )
    settings: dict[str, Any] = {
        "weight": weight,
        "distance": distance,
        "stop_after": stop_after,
        "loss": "negative_log",
    }
    return EnsembleAttack(
        _adam(budget, steps=steps, step_size=step_size, **settings, **_aimed(common)),
        members,
        combine=combine,
        targets=10 if targets is None else targets,
        rank=target_rank,
        **_aimed(common),
    )


def carlini_wagner(
    *,
    steps: int = 1000,
    step_size: float | str = 1e-2,
    confidence: float = 0.0,
    search_steps: int = 9,
    initial_weight: float = 1e-3,
    **common: Any,
) -> Attack:
    """Build Carlini & Wagner's L2 attack."""
    return CarliniWagnerAttack(
        steps=steps,
        step_size=parse_pixels(step_size, "step_size", most=None),
        confidence=confidence,
        search_steps=search_steps,
        initial_weight=initial_weight,
        **common,
    )


def elastic_net(
    *,
    steps: int = 1000,
    step_size: float | str = 1e-2,
    confidence: float = 0.0,
    search_steps: int = 9,
    initial_weight: float = 1e-3,
    regularization: float = 1e-2,
    decision: Decision = "en",
    **common: Any,
) -> Attack:
    """Build the elastic-net attack."""
    return ElasticNetAttack(
        steps=steps,
        step_size=parse_pixels(step_size, "step_size", most=None),
        confidence=confidence,
        search_steps=search_steps,
        initial_weight=initial_weight,
        regularization=regularization,
        decision=decision,
        **common,
    )


def _aimed(common: dict[str, Any]) -> dict[str, Any]:
    """Return what every attack takes, with a target."""
    return common | ({"target": "least_likely"} if common.get("target") is None else {})


def _adam(
    budget: Budget, *, steps: int, step_size: float | str, weight: Any, loss: str = "cross_entropy", **settings: Any
) -> OptimizationAttack:
    size = parse_pixels(step_size, "step_size")
    step = AdamStep(size, stabiliser=255e-8)  # Adam's 1e-8 in 0-255 units
    return OptimizationAttack(Linf(budget), step, weight=check_weight(weight), steps=steps, loss=loss, **settings)
