"""A forward pass that ends at a layer: what comes after it costs nothing."""

from typing import NoReturn

from torch import Tensor

from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.taps import taps


class _Reached(Exception):
    """Carries the layer's output out of the forward pass."""

    def __init__(self, output: Tensor) -> None:
        super().__init__("the layer is reached")
        self.output = output


def _leave(output: Tensor) -> NoReturn:
    raise _Reached(output)


def forward_until(network: Network, x: Tensor, layer: str) -> Tensor:
    """Return the activation of a layer, and compute nothing that comes after it.

    Args:
        network: images to logits; unchanged.
        x: images ``[B, C, H, W]`` in [0, 1].
        layer: a path in the backbone, ``path#0`` for its first call alone, or ``phi``. Of a layer that is called
            several times, ``path`` gives the first call, since the pass ends there.

    Raises:
        ValueError: if the layer is unknown, or the pass does not reach it.
    """
    try:
        with taps(network, replace={layer: _leave}):
            network(x)
    except _Reached as reached:
        return reached.output
    raise ValueError(f"layer {layer!r} is not reached by a forward pass of {network.name}.")
