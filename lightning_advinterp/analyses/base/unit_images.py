"""The images that units answer most to."""

from collections.abc import Mapping, Sequence

import torch

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import UnitSpace, unit_space
from lightning_advinterp.units.top_images import TopImages


class UnitImages(Summed):
    """Keeps for every unit the images of the highest activation, real and of every attack.

    Args:
        attacks: name to attack.
        layers: see :func:`~lightning_advinterp.units.spaces.unit_space`.
        count: images per unit and kind.
        name: what the analysis is called beside others.
    """

    summed = ("_top",)
    settled = ("_widths",)

    def __init__(
        self,
        attacks: Mapping[str, Attack] | None = None,
        layers: str | Sequence[str] = "last",
        count: int = 8,
        name: str = "unit_images",
    ) -> None:
        self.kinds, self.layers, self.count, self.name = (REAL, *(attacks or {})), layers, count, name
        self.units = UnitSpace(())
        self._widths: list[int] = []
        self._top = {kind: TopImages(count) for kind in self.kinds}

    def bind(self, network: Network) -> Plan:
        """One sweep over all kinds of images."""
        self.units = unit_space(network, self.layers)
        return Plan((Sweep(self.units.taps, self.kinds, labels=False),))

    def update(self, sweep: int, observation: Observation) -> None:
        """Rank one batch among the images so far."""
        for kind in self.kinds:
            parts = [unit.reduced(observation.activations[kind][unit.tap], "max") for unit in self.units]
            self._widths = [part.shape[1] for part in parts]
            notes = torch.zeros(len(observation.index), 0, dtype=torch.int32, device=observation.index.device)
            self._top[kind].update(torch.cat(parts, dim=1), observation.index, notes)

    def result(self) -> Result:
        """Return the numbers of every unit's images, the strongest first: ``<name>-<kind>``, int64 ``[U, count]``."""
        arrays = {f"{self.name}-{kind}": top.ranking(self.count).index.numpy() for kind, top in self._top.items()}
        return Result(self.name, arrays=arrays if self._widths else {})
