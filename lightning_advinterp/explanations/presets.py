"""Explanations by name: what builds each type from its configuration, and the papers' settings."""

from collections.abc import Sequence
from difflib import get_close_matches

from lightning_advinterp.core.registry import class_of_path, parameters_of
from lightning_advinterp.explanations.cam import CAM, GradCAM
from lightning_advinterp.explanations.config import CHECKS, ExplanationConfig
from lightning_advinterp.explanations.deeplift import DeepLift
from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.gradients import Gradient, GradientTimesInput, IntegratedGradients, SmoothGrad
from lightning_advinterp.explanations.guided import GuidedBackprop
from lightning_advinterp.explanations.lrp import LRP
from lightning_advinterp.explanations.occlusion import Occlusion
from lightning_advinterp.explanations.pattern_attribution import PatternAttribution

EXPLANATIONS: dict[str, type[Method]] = {
    "gradient": Gradient,
    "gradient_times_input": GradientTimesInput,
    "smoothgrad": SmoothGrad,
    "integrated_gradients": IntegratedGradients,
    "guided_backprop": GuidedBackprop,
    "deeplift": DeepLift,
    "lrp": LRP,
    "pattern_attribution": PatternAttribution,
    "cam": CAM,
    "gradcam": GradCAM,
    "occlusion": Occlusion,
}
"""Every type of explanation by its name in a configuration."""


def settings_of(kind: type[Method]) -> set[str]:
    """Return the names of the settings that a type takes."""
    return parameters_of(kind) - {"name"}


def kind_of(name: str) -> type[Method]:
    """Return the class of a type.

    Raises:
        ValueError: if there is no such type; the nearest is named.
    """
    if "." in name:
        return class_of_path(name, Method, "explanation type")
    if name not in EXPLANATIONS:
        near = get_close_matches(str(name), EXPLANATIONS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"explanation type must be one of {', '.join(EXPLANATIONS)}, got {name!r}{hint}.")
    return EXPLANATIONS[name]


def check_config(config: ExplanationConfig) -> type[Method]:
    """Refuse settings that the type does not take, or that have wrong values, and return its class."""
    kind, given = kind_of(config.type), config.given() | (config.options or {})
    known = settings_of(kind)
    for setting in given:
        if setting not in known:
            raise ValueError(f"{setting} is no setting of {config.type}, which takes {', '.join(sorted(known))}.")
    if kind is PatternAttribution:
        if config.patterns is None:
            raise ValueError("pattern_attribution needs patterns: a file written by learn_patterns(…).save(FILE).")
    else:
        try:
            kind(name=config.label_name, **given)
        except TypeError as error:  # an argument that it needs is missing
            raise ValueError(f"explanation {config.type}: {error}") from None
    return kind


def create_explanation(config: ExplanationConfig) -> Method:
    """Build the explanation that a configuration describes.

    Raises:
        ValueError: naming the argument, the value and what was expected.
        FileNotFoundError: if the file of patterns does not exist.
    """
    return check_config(config)(name=config.label_name, **config.given(), **(config.options or {}))


CHECKS.append(check_config)


def create_explanations(configs: Sequence[ExplanationConfig]) -> dict[str, Method]:
    """Build several explanations, by their names, which must differ from each other."""
    names = [config.label_name for config in configs]
    if len(set(names)) < len(names):
        raise ValueError(f"Every explanation needs a name of its own, got {names}; set name: in each.")
    return {config.label_name: create_explanation(config) for config in configs}


PAPERS: dict[str, tuple[ExplanationConfig, ...]] = {
    "ghorbani2019": (
        ExplanationConfig("gradient", space="pixel"),
        ExplanationConfig("integrated_gradients", steps=100, recompute=True),
        ExplanationConfig("deeplift", pool="winner"),
    ),
    "dombrowski2019": (
        ExplanationConfig("gradient"),
        ExplanationConfig("gradient_times_input"),
        ExplanationConfig("integrated_gradients", steps=30, recompute=True),
        ExplanationConfig("guided_backprop", start="value"),
        ExplanationConfig("lrp", bounds="image"),
    ),
}
"""The settings of the papers' codes (Dombrowski's sixth, pattern_attribution, needs a file of patterns).

Departures: Ghorbani's network takes BGR pixels minus a mean, without dividing by a std; ``space="pixel"`` gives the
same map for the same network. His maps have the mean 1, ours the sum 1. Dombrowski's gradient starts with z_c instead
of 1, which the normalisation of a map cancels. ``recompute`` changes no number: an attack on a batch would keep the
graphs of all its images' steps without it.
"""
