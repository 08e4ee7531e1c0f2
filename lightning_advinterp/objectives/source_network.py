"""A trained network that others are attacked from, as a configuration names it."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lightning_advinterp.networks import Network
from lightning_advinterp.networks.choice import NetworkChoice, with_options


@dataclass(frozen=True)
class SourceNetwork(NetworkChoice):
    """One static network: either a checkpoint of this project, or a name and its weights.

    Attributes:
        options: further settings and arguments of the network in one dictionary.
    """

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
        self.check_network()

    def load(self) -> Network:
        """Return the network, frozen, in evaluation mode, on the CPU; the global generator stays where it was."""
        chosen = replace(self, network_options=with_options(self.network_options or {}, self.options))
        with torch.random.fork_rng(devices=[]):
            network = chosen.load_network().network
        return network.eval().requires_grad_(False)
