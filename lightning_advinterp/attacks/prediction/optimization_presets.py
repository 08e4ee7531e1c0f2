"""Optimisation attacks from their configurations."""

from typing import Any

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Budget, parse_pixels
from lightning_advinterp.attacks.loop.step import AdamStep
from lightning_advinterp.attacks.loop.threat import Linf
from lightning_advinterp.attacks.prediction.carlini_wagner import CarliniWagnerAttack
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.ensemble_attack import EnsembleAttack
from lightning_advinterp.attacks.prediction.optimization import OptimizationAttack, check_weight


def build_optimization(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> OptimizationAttack:
    """Build Eq. 2, Eq. 4, or Eq. 4 on an ensemble, which differ in the class alone."""
    if config.type == "optimization" and (config.target is not None or config.label == "least_likely"):
        raise ValueError(
            f"optimization has no target, got target={config.target!r} and label={config.label!r}; "
            "use targeted_optimization."
        )
    if config.type != "optimization" and config.target is None:
        common = common | {"target": "least_likely"}
    size = parse_pixels("5/255" if config.step_size is None else config.step_size, "step_size")
    return OptimizationAttack(
        Linf(budget),
        AdamStep(size, stabiliser=255e-8),  # Adam's 1e-8 in 0-255 units
        weight=check_weight(config.weight),
        distance=config.distance or "mean",
        steps=20 if config.steps is None else config.steps,
        stop_after=10 if config.stop_after is None else config.stop_after,
        loss="negative_log" if config.type == "ensemble" else "cross_entropy",
        **common,
    )


def build_ensemble(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
    """Build the optimisation attack on several networks."""
    if config.target not in (None, "least_likely") and (config.targets, config.target_rank) != (None, None):
        raise ValueError(
            f"targets and target_rank count least likely classes; leave them out with target={config.target!r}."
        )
    return EnsembleAttack(
        build_optimization(config, budget, common),
        config.members or (),
        combine=config.combine or "loss",
        targets=10 if config.targets is None else config.targets,
        rank=config.target_rank,
        **common | ({"target": "least_likely"} if config.target is None else {}),
    )


def build_carlini_wagner(config: AttackConfig, budget: Budget, common: dict[str, Any]) -> Attack:
    """Build Carlini & Wagner's L2 attack."""
    names = ("steps", "search_steps", "initial_weight", "confidence")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(config, name)) is not None}
    if config.step_size is not None:
        given["step_size"] = parse_pixels(config.step_size, "step_size", most=None)
    return CarliniWagnerAttack(**given, **common)
