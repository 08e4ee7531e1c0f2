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
    """Distance and loss in one objective, by Adam (Dong, Su & Zhu 2022, Eq. 2).

    Args:
        budget: the radius; 1 is the box alone.
        weight: λ, before the loss; ``calibrate``, which left out means, lets an evaluation find the smallest with 95 %
            success on other images.
        distance: ``mean`` or ``sum`` of the squared differences in 0-255 units.
        steps: number of steps.
        step_size: Adam's.
        stop_after: samples that have reached the goal after so many steps take no further ones.
        **common: what every attack takes.
    """
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
    """The same towards a class, the least likely one where no target is said (Dong, Su & Zhu 2022, Eq. 4)."""
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
    """Eq. 4 on several networks (Dong et al. 2017).

    Args:
        budget: the radius; 1 is the box alone.
        members: the networks.
        combine: what is averaged over them: ``loss``, ``prob`` or ``logit``.
        targets: it aims at one of so many least likely classes; 10 when left out.
        target_rank: at which of them, 1 the least likely; drawn for every image when left out.
        weight: λ, as of Eq. 4.
        distance: likewise.
        steps: number of steps.
        step_size: Adam's.
        stop_after: samples that have reached the goal after so many steps take no further ones.
        **common: what every attack takes.
    """
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
    """The nearest adversarial image in L2 (Carlini & Wagner 2017).

    Args:
        steps: Adam's, for every weight.
        step_size: Adam's, in tanh space; the first one of ead.
        confidence: by how much the logit must win.
        search_steps: of the search over the weight of the loss.
        initial_weight: the first weight.
        **common: what every attack takes.
    """
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
    """Few pixels, by the elastic net (Chen et al. 2018).

    Args:
        steps: for every weight.
        step_size: the first one.
        confidence: by how much the logit must win.
        search_steps: of the search over the weight of the loss.
        initial_weight: the first weight.
        regularization: β, the weight of L1.
        decision: by what the nearest image is taken: ``en`` (β L1 + L2²) or ``l1``.
        **common: what every attack takes.
    """
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
