"""Explanations from their configurations, and the papers' settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_advinterp.explanations.config import ExplanationConfig
from lightning_advinterp.explanations.explanation import Method


def create_explanation(config: ExplanationConfig | Mapping[str, Any] | str, **settings: Any) -> Method:
    """Build the explanation that a configuration describes.

    Args:
        config: its settings, or its type's name.
        **settings: further settings of its type, which ``evaluate.py --fragility.methods.help TYPE`` prints.

    Raises:
        ValueError: naming the argument, the value and what was expected.
        FileNotFoundError: if the file of patterns does not exist.

    Example:
        >>> import torch
        >>> method = create_explanation("integrated_gradients", steps=8)
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 5))
        >>> method.map(network, torch.rand(2, 3, 4, 4), 1).shape
        torch.Size([2, 4, 4])
    """
    if isinstance(config, str):
        config = ExplanationConfig(config, **settings)
    elif isinstance(config, Mapping):
        config = ExplanationConfig(**{**config, **settings})
    elif settings:
        config = config.changed(**settings)
    return config.create()


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
