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

_SMOOTH = "gelu silu mish elu celu selu tanh tanhshrink sigmoid softplus softsign log_sigmoid glu"
_KINKED = "threshold _threshold hardshrink softshrink rrelu"


def _with_in_place(names: str) -> frozenset[str]:
    return frozenset(name + ending for name in names.split() for ending in ("", "_"))


SMOOTH = _with_in_place(_SMOOTH)
"""Activations that have second derivatives other than 0, so that nothing need stand for them."""

KINKED = _with_in_place(_KINKED)
"""Activations that bend in a point, and that no surrogate stands for; ``nn.Threshold`` calls ``_threshold``."""


def activation_calls(network: Network) -> Counter[str]:
    """Return how often a forward pass of one image calls each activation function, by the function's name."""
    counting = _Counting()
    with counting:
        dry_forward(network.backbone, len(network.mean), network.input_size)
    return counting.calls


def bends_in_a_point(network: Network) -> bool:
    """Whether a network calls a function, such as relu, whose second derivative is 0 or does not exist."""
    return not (KINKED | smoothed_functions()).isdisjoint(activation_calls(network))


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
        reason = "no softplus stands for what it calls"
        if smooth:
            reason = f"{' and '.join(smooth)} {'has' if len(smooth) == 1 else 'have'} second derivatives"
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
