"""A trained network that others are attacked from, as a configuration names it."""

from dataclasses import dataclass, field
from typing import Any

import torch

from lightning_advinterp.networks import Network, create_network
from lightning_advinterp.networks.checkpoint import load_checkpoint


@dataclass(frozen=True)
class SourceNetwork:
    """One static network: either a checkpoint of this project, or a name and its weights.

    Attributes:
        checkpoint: last.ckpt or best.ckpt of a run of this project; it says which network it holds.
        network: instead of a checkpoint, a torchvision name, timm/NAME, a CIFAR ResNet or a class path.
        weights: the network's weights: an enum name such as IMAGENET1K_V1, ``pretrained``, or a file.
        options: further arguments of the network, such as ``num_classes`` and ``stem``.
    """

    checkpoint: str | None = None
    network: str | None = None
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.checkpoint is None) == (self.network is None):
            raise ValueError(
                "a source needs either checkpoint or network (with weights), "
                f"got checkpoint={self.checkpoint!r} and network={self.network!r}."
            )
        if self.checkpoint is not None and (self.weights is not None or self.options):
            raise ValueError(f"source {self.checkpoint}: a checkpoint takes no weights and no options; leave them out.")
        if self.network is not None and self.weights is None:
            raise ValueError(f"source {self.network}: expected weights, an untrained network is no source of attacks.")

    def load(self) -> Network:
        """Return the network, frozen, in evaluation mode, on the CPU; the global generator stays where it was."""
        with torch.random.fork_rng(devices=[]):
            if self.checkpoint is not None:
                network = load_checkpoint(self.checkpoint).network
            else:
                assert self.network is not None
                network = create_network(self.network, self.weights, **self.options)
        return network.eval().requires_grad_(False)
