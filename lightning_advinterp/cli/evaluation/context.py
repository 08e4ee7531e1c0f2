"""What analyses are built from, and what their figures are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.data.class_labels import Outputs
from lightning_advinterp.networks import Network


@dataclass(frozen=True)
class Context:
    """What an analysis may need to know when it is built, and its figures when they are drawn.

    Attributes:
        network: the network under test.
        title: what figures call it.
        outputs: what its outputs are called; empty where unknown.
        attacks: whose images are wanted, by name.
        dataset: the images that it is shown.
        names: the analyses that look at these images together.
        settings: all that the command line says.
    """

    network: Network
    title: str
    outputs: Outputs
    attacks: Mapping[str, Attack]
    dataset: Any
    names: tuple[str, ...]
    settings: Evaluation

    @property
    def runner(self) -> dict[str, Any]:
        """What a runner over some of the images must have, for attacks to give the same images again; and a bar."""
        device = next(self.network.parameters()).device
        return {"seed": self.settings.seed, "device": device, "batch_size": self.settings.batch_size, "progress": True}


Figures = dict[str, Figure]
"""Figures by name."""
