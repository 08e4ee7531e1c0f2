"""Activations that are held from one sweep over the images to the next, so that they need not be computed again."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_advinterp.networks.network import Network

REMEMBERED = 1 << 30
"""Bytes of activations held between sweeps, of the network and of each analysis that makes passes of its own."""

Features = tuple[Tensor, dict[str, Tensor]]
"""Logits, and activations by layer."""


class RememberedPasses:
    """Forward passes of a network in evaluation mode, those of the first batches held.

    Args:
        most: so many bytes are held at most; batches after that are computed in every sweep.

    Attributes:
        held: bytes that were held at once, at most.
    """

    def __init__(self, most: int) -> None:
        self._room, self._last = most, False
        self.held = 0
        self._passes: dict[tuple[int, ...], Features] = {}

    def let_go(self) -> None:
        """Hold nothing more, and what is held only until it is asked for: this is the last sweep."""
        self._room, self._last = 0, True

    def features(self, network: Network, x: Tensor, layers: Sequence[str], index: Tensor) -> Features:
        """Return logits and activations of a batch, without a graph: the ones held, if the layers are among them.

        Args:
            network: the same in every call.
            x: images ``[B, 3, H, W]``.
            layers: whose activations are wanted.
            index: int64 ``[B]``, the images' numbers, by which a batch is known again.
        """
        batch = tuple(index.tolist())
        stored = self._passes.pop(batch, None) if self._last else self._passes.get(batch)
        if stored is not None and stored[1].keys() >= set(layers):
            return stored[0], {layer: stored[1][layer] for layer in layers}
        with torch.no_grad():
            logits, activations = network.forward_features(x, tuple(layers))
        if stored is None:
            size = sum(value.numel() * value.element_size() for value in (logits, *activations.values()))
            if size <= self._room:
                self._room -= size
                self.held += size
                self._passes[batch] = logits, dict(activations)
        return logits, activations
