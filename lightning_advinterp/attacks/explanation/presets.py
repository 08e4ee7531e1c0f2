"""Attacks on explanations by name: configurations, what builds them, and the papers' settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from lightning_advinterp.attacks.explanation.dissimilarity import (
    Criterion,
    Dissimilarity,
    MassCentre,
    Target,
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
from lightning_advinterp.explanations import LRP, DeepLift, Explanation


@dataclass(frozen=True)
class ExplanationAttackConfig:
    """One attack on explanations; what is left out is the default, and what the type has no use for is refused.

    Attributes:
        type: ``random_sign``, ``topk``, ``mass_centre``, ``target_region`` (Ghorbani et al. 2019) or ``target_map``
            (Dombrowski et al. 2019).
        name: what tables and log keys call it; the type when left out.
        eps: ε in L∞, a fraction of the [0, 1] range or "8/255" (the default); target_map: 1, the box alone.
        steps: 100 when left out; 1 makes random_sign one shot.
        step_size: "0.5/255" when left out, or ε for one step; target_map: 4.5e-5.
        step: ``sign`` or ``adam`` (the default of target_map).
        softplus: β of the surrogate, or [first, last] for a growing one; 0 for the ReLU network itself. Left out: 10
            (target_map: [10, 100]), and 0 for lrp and deeplift.
        k: of topk and of the top-k criterion; 1,000 when left out, 100 for images below 100 pixels, a tenth of the
            places below 32.
        region: of target_region, [top, left, height, width] in shares of the sides; the quadrant of least relevance
            when left out.
        target: of target_map, ``centre`` (the default), ``uniform``, ``inverted`` or ``text``; maps of other images
            are given in Python.
        text: what ``target: text`` writes; "NO CAT" when left out.
        penalty: γ of −γ‖Δp‖²; 0 when left out, 5e-4 for target_map.
        criterion: by what the best iterate is chosen: ``topk``, ``spearman``, ``center_shift`` or ``gain``.
        most_delta_p: the farthest that the class' probability may move; 1 when left out.
        keep: ``selection`` (the default): the best iterate that keeps the class counts; ``constraint``: a step that
            leaves the class, or ``most_delta_p``, is halved up to three times and then not taken.
        check_every: iterates between checks of the ReLU network; 1 when left out.
        label: the class that is explained, ``predicted`` or ``true`` (then wrongly classified images are left out).
        of: in an analysis of several methods, the name of the one whose maps are attacked; each its own when left out.
            Another one's show whether what fools it fools the others.
    """

    type: str = "topk"
    name: str | None = None
    eps: Eps | None = None
    steps: int | None = None
    step_size: float | str | None = None
    step: Literal["sign", "adam"] | None = None
    softplus: float | tuple[float, float] | None = None
    k: int | None = None
    region: tuple[float, float, float, float] | None = None
    target: Target | None = None
    text: str | None = None
    penalty: float | None = None
    criterion: Criterion | None = None
    most_delta_p: float | None = None
    keep: Keep | None = None
    check_every: int | None = None
    label: Literal["predicted", "true"] = "predicted"
    of: str | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def label_name(self) -> str:
        """What tables and log keys call the attack."""
        return self.name or self.type


AIMS: dict[str, tuple[Callable[..., Dissimilarity], frozenset[str]]] = {
    "random_sign": (Undirected, frozenset({"k"})),
    "topk": (TopK, frozenset({"k"})),
    "mass_centre": (MassCentre, frozenset()),
    "target_region": (TargetRegion, frozenset({"region"})),
    "target_map": (TargetMap, frozenset({"target", "text"})),
}
"""Every type by its name, and the settings that only it takes."""

_OWN = frozenset({"k", "region", "target", "text"})
_WITHOUT_GRADIENT = frozenset({"step", "softplus", "penalty"})


def _check(config: ExplanationAttackConfig) -> None:
    refused = _OWN - entry_of(config.type, AIMS, "attack on explanations")[1]
    refused |= _WITHOUT_GRADIENT if config.type == "random_sign" else set()
    for setting in sorted(refused):
        if getattr(config, setting) is not None:
            raise ValueError(f"{setting} is no setting of {config.type}.")
    if config.text is not None and config.target != "text":
        raise ValueError(f"text is written by target: text alone, got target {config.target!r}.")
    if config.label not in ("predicted", "true"):
        raise ValueError(f"label must be predicted or true, got {config.label!r}.")
    betas = config.softplus if isinstance(config.softplus, tuple | list) else (config.softplus or 0.0,)
    growing = isinstance(config.softplus, tuple | list)
    if len(betas) != 1 + growing or min(betas) < 0 or (growing and min(betas) <= 0):
        raise ValueError(f"softplus must be one β, [first, last] above 0, or 0 for none, got {config.softplus}.")
    _dissimilarity(config)
    _step(config)
    parse_budget(_eps(config))


def _eps(config: ExplanationAttackConfig) -> Eps:
    if config.eps is not None:
        return config.eps
    return 1.0 if config.type == "target_map" else "8/255"


def _step(config: ExplanationAttackConfig) -> Step:
    kind = config.step or ("adam" if config.type == "target_map" else "sign")
    if kind not in ("sign", "adam"):
        raise ValueError(f"step must be sign or adam, got {kind!r}.")
    single = config.steps == 1 and config.step_size is None
    otherwise: float | str = 4.5e-5 if config.type == "target_map" else "0.5/255"
    size = parse_pixels(otherwise if config.step_size is None else config.step_size, "step_size")
    if config.type == "random_sign":
        return RandomSignStep(1.0, relative=True) if single else RandomSignStep(size)
    if kind == "adam":
        return AdamStep(size, stabiliser=5e-15)  # 1e-8 for Dombrowski's loss, which is 2e6 times ours
    return SignStep(1.0, relative=True) if single else SignStep(size)


def _dissimilarity(config: ExplanationAttackConfig, target: Tensor | None = None) -> Dissimilarity:
    build, names = AIMS[config.type]
    settings: dict[str, Any] = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    if target is not None:
        if config.type != "target_map" or config.target is not None:
            raise ValueError("target maps are for attacks of type target_map without a target of their own.")
        settings["target"] = target
    return build(**settings)


def create_explanation_attack(
    config: ExplanationAttackConfig, explanation: Explanation, *, target: Tensor | None = None
) -> ExplanationAttack:
    """Build the attack that a configuration describes, on one explanation.

    Args:
        config: its settings.
        explanation: whose maps are attacked.
        target: maps of other images ``[N, H, W]``, for target_map.

    Raises:
        ValueError: naming the argument, the value and what was expected.
    """
    softplus: Softplus = config.softplus
    if softplus is None:
        has_softplus = isinstance(explanation, LRP | DeepLift) or getattr(explanation, "softplus", None) is not None
        softplus = 0.0 if has_softplus else (10.0, 100.0) if config.type == "target_map" else 10.0
    settings = {
        name: value
        for name in ("criterion", "most_delta_p", "keep", "check_every")
        if (value := getattr(config, name)) is not None
    }
    default_penalty = 5e-4 if config.type == "target_map" else 0.0
    return ExplanationAttack(
        THREATS["linf"](parse_budget(_eps(config))),
        _step(config),
        explanation=explanation,
        dissimilarity=_dissimilarity(config, target),
        softplus=softplus or None,
        steps=100 if config.steps is None else config.steps,
        penalty=default_penalty if config.penalty is None else config.penalty,
        label=config.label,
        name=config.label_name,
        **settings,
    )


def _ghorbani(kind: str, **settings: Any) -> ExplanationAttackConfig:
    common: dict[str, Any] = {"eps": "8/255", "steps": 300, "step_size": "0.5/255", "label": "true"}
    surrogate: dict[str, Any] = {} if kind == "random_sign" else {"softplus": 1.0}
    return ExplanationAttackConfig(kind, **common | surrogate | settings)


EXPLANATION_ATTACKS: dict[str, tuple[ExplanationAttackConfig, ...]] = {
    "ghorbani2019": tuple(
        _ghorbani(kind, criterion="topk") for kind in ("random_sign", "topk", "mass_centre", "target_region")
    ),
    "dombrowski2019": (ExplanationAttackConfig("target_map", steps=1500, softplus=(10.0, 100.0), penalty=5e-4),),
    "recommended": tuple(
        ExplanationAttackConfig(kind) for kind in ("random_sign", "topk", "mass_centre", "target_region", "target_map")
    ),
}
"""The settings of the authors' codes.

ghorbani2019: 300 steps of 0.5/255 in ε = 8/255, a softplus surrogate of β = 1, the least intersection of the top 1,000
(of smaller images fewer, see :func:`~lightning_advinterp.metrics.heatmaps.default_k`). Departures: the region is the
quadrant of least relevance; the centre of mass moves away from that of the ReLU map, in the authors' code from the
surrogate's; of integrated gradients the whole map is differentiated, its factor (x − baseline) included, while the
authors' code sums (k/n) times the derivatives at the points of the path and leaves the factor fixed. With β = 1 a
ResNet-18 loses its classes, a SqueezeNet does not; ``recommended`` has 10. For DeepLIFT the authors take ε = 16/255,
α = 0.1/255 and no surrogate.

dombrowski2019: 1,500 steps of Adam, γ = (1e6/1000)/(1e11/224²) = 5e-4 of the squared change of the probabilities, β
from 10 to 100, no ball. Departures: the best checked iterate is kept instead of the last; the step, 2e-4 in normalised
units, is 4.5e-5 in pixels of every channel; the original map is the ReLU network's (theirs: β = 1000).
"""
