"""Attacks on explanations by name: all climb alike, and differ by what they climb."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from lightning_advinterp.attacks.explanation.dissimilarity import (
    Criterion,
    Dissimilarity,
    MassCentre,
    TargetMap,
    TargetRegion,
    TopK,
    Undirected,
)
from lightning_advinterp.attacks.explanation.explanation import ExplanationAttack, Keep, Softplus
from lightning_advinterp.attacks.loop.budget import Eps, parse_budget, parse_pixels
from lightning_advinterp.attacks.loop.step import AdamStep, RandomSignStep, SignStep, Step
from lightning_advinterp.attacks.loop.threat import THREATS
from lightning_advinterp.core.registry import entry_of
from lightning_advinterp.core.signatures import Setting, settings_of
from lightning_advinterp.explanations import LRP, AttnLRP, DeepLift, Explanation, Method

Move = Literal["sign", "adam"]


def climb(
    explanation: Explanation,
    dissimilarity: Dissimilarity,
    name: str,
    surrogate: Softplus,
    *,
    eps: Eps = "8/255",
    steps: int = 100,
    step_size: float | str | None = None,
    step: Move = "sign",
    softplus: float | tuple[float, float] | None = None,
    penalty: float = 0.0,
    criterion: Criterion | None = None,
    most_delta_p: float = 1.0,
    keep: Keep = "selection",
    check_every: int = 1,
    label: Literal["predicted", "true"] = "predicted",
) -> ExplanationAttack:
    """Build the attack that climbs a dissimilarity of maps.

    Args:
        explanation: whose maps are attacked.
        dissimilarity: what is climbed.
        name: what tables call the attack.
        surrogate: β where it is left out.
        eps: ε in L∞, a fraction of the [0, 1] range or such as "8/255"; 1 is the box alone.
        steps: 1 makes random_sign one shot.
        step_size: "0.5/255" when left out, or ε for one step.
        step: ``sign`` or ``adam``.
        softplus: β of the surrogate, or [first, last] for a growing one; 0 for the ReLU network itself. Left out: 10
            (target_map: [10, 100]), and 0 for lrp, deeplift and attnlrp.
        penalty: γ of −γ‖Δp‖².
        criterion: by what the best iterate is chosen: ``topk``, ``spearman``, ``center_shift`` or ``gain``.
        most_delta_p: the farthest that the class' probability may move.
        keep: ``selection`` (the default): the best iterate that keeps the class counts; ``constraint``: a step that
            leaves the class, or ``most_delta_p``, is halved up to three times and then not taken.
        check_every: iterates between checks of the ReLU network.
        label: the class that is explained, ``predicted`` or ``true`` (then wrongly classified images are left out).

    Raises:
        ValueError: naming the setting, the value and what was expected.
    """
    if label not in ("predicted", "true"):
        raise ValueError(f"label must be predicted or true, got {label!r}.")
    differentiable = isinstance(explanation, LRP | DeepLift | AttnLRP)
    differentiable |= isinstance(explanation, Method) and explanation.softplus is not None
    beta = (0.0 if differentiable else surrogate) if softplus is None else _checked_softplus(softplus)
    choice: dict[str, Any] = {"criterion": criterion, "most_delta_p": most_delta_p, "keep": keep, "label": label}
    return ExplanationAttack(
        THREATS["linf"](parse_budget(eps)),
        _step(step, step_size, steps),
        explanation=explanation,
        dissimilarity=dissimilarity,
        softplus=beta or None,
        steps=steps,
        penalty=penalty,
        check_every=check_every,
        name=name,
        **choice,
    )


def _checked_softplus(softplus: float | tuple[float, float]) -> Softplus:
    growing = isinstance(softplus, tuple | list)
    betas = tuple(softplus) if isinstance(softplus, tuple | list) else (softplus,)
    if len(betas) != 1 + growing or min(betas) < 0 or (growing and min(betas) <= 0):
        raise ValueError(f"softplus must be one β, [first, last] above 0, or 0 for none, got {softplus}.")
    return softplus


def _step(kind: str, step_size: float | str | None, steps: int) -> Step:
    size = parse_pixels("0.5/255" if step_size is None else step_size, "step_size")
    if kind == "adam":
        return AdamStep(size, stabiliser=5e-15)  # 1e-8 for Dombrowski's loss, which is 2e6 times ours
    if kind not in ("sign", "random_sign"):
        raise ValueError(f"step must be sign or adam, got {kind!r}.")
    move = RandomSignStep if kind == "random_sign" else SignStep
    return move(1.0, relative=True) if steps == 1 and step_size is None else move(size)


@dataclass(frozen=True)
class AimedBuilder:
    """How one type of attack on explanations is built.

    Attributes:
        aim: what it climbs; the arguments of its constructor are the settings that only this type takes.
        defaults: settings of :func:`climb` that are others when they are left out.
        fixed: those that the type has no use for, with their values.
        surrogate: β of the softplus where it is left out.
    """

    aim: type[Dissimilarity]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    surrogate: Softplus = 10.0

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The type's settings by name, with its defaults."""
        shared = {name: setting for name, setting in settings_of(climb).items() if name not in self.fixed}
        adapted = {
            name: replace(setting, default=self.defaults[name])
            for name, setting in shared.items()
            if name in self.defaults
        }
        return shared | adapted | settings_of(self.aim)

    def build(self, explanation: Explanation, *, name: str, **settings: Any) -> ExplanationAttack:
        """Build the attack on one explanation.

        Raises:
            ValueError: naming the setting, the value and what was expected.
        """
        if settings.get("step", "sign") not in ("sign", "adam"):
            raise ValueError(f"step must be sign or adam, got {settings['step']!r}.")
        aim = {key: settings.pop(key) for key in settings_of(self.aim) if key in settings}
        entries = {**self.defaults, **settings, **self.fixed}
        return climb(explanation, self.aim(**aim), name, self.surrogate, **entries)


AIMS: dict[str, AimedBuilder] = {
    "random_sign": AimedBuilder(Undirected, fixed={"step": "random_sign", "softplus": None, "penalty": 0.0}),
    "topk": AimedBuilder(TopK),
    "mass_centre": AimedBuilder(MassCentre),
    "target_region": AimedBuilder(TargetRegion),
    "target_map": AimedBuilder(
        TargetMap, {"eps": 1.0, "step": "adam", "step_size": 4.5e-5, "penalty": 5e-4}, surrogate=(10.0, 100.0)
    ),
}
"""Every type by its name in a configuration."""


def aim_of(name: str) -> AimedBuilder:
    """Return what builds a type.

    Raises:
        ValueError: if there is no such type; the nearest is named.
    """
    return entry_of(name, AIMS, "attack on explanations")
