"""Which activation functions a network calls, and what a softplus surrogate makes of them."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

from lightning_advinterp.networks.dry import dry_forward
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.smoothing import smoothed_functions
from lightning_advinterp.networks.trace import function_name

logger = logging.getLogger(__name__)

SMOOTH = frozenset({"gelu", "silu", "silu_", "mish", "mish_", "tanh", "softplus", "logsigmoid"})
"""Activations that have second derivatives, so that nothing need stand for them."""

KINKED = frozenset({"threshold", "threshold_", "hardshrink", "softshrink", "rrelu", "rrelu_"})
"""Activations that bend in a point, and that no surrogate stands for."""


def activation_calls(network: Network) -> Counter[str]:
    """Return how often a forward pass of one image calls each activation function, by the function's name."""
    counting = _Counting()
    with counting:
        dry_forward(network.backbone, len(network.mean), network.input_size)
    return counting.calls


def warn_without_surrogate(network: Network, analysis: str) -> None:
    """Say so where a softplus surrogate changes nothing in a network, or not all that bends.

    Args:
        network: images to logits; unchanged.
        analysis: what the message begins with.
    """
    calls = activation_calls(network)
    kinked = sorted(KINKED & set(calls))
    if kinked:
        logger.warning("%s: no softplus stands for %s, whose second derivative is 0.", analysis, ", ".join(kinked))
    if not any(name in smoothed_functions() for name in calls):
        smooth = sorted(SMOOTH & set(calls))
        reason = f"{', '.join(smooth)} has second derivatives" if smooth else "it calls no activation function"
        logger.warning(
            "%s: softplus changes nothing in %s, which calls no relu: %s. Every beta gives the same numbers.",
            analysis,
            network.name,
            reason,
        )


class _Counting(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = function_name(func)
        if name in SMOOTH or name in KINKED or name in smoothed_functions():
            self.calls[name] += 1
        return func(*args, **kwargs or {})
