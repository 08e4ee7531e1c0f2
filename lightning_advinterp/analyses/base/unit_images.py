"""The images that units answer most to: which they are, and their pictures with what the unit looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Subset

from lightning_advinterp.analyses.base.protocol import Needs, Observation, Sweep
from lightning_advinterp.analyses.base.runner import Runner
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.explanations.discrepancy import discrepancy_map
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import UnitLayer, reduce_maps, unit_layers
from lightning_advinterp.units.top_images import TopImages

Highlight = Literal["activation", "discrepancy"]
_SHARE = 0.5
"""What counts as looked at where there is no threshold: at least so much of a map's maximum."""


class UnitImages:
    """Keeps for every unit the images of the highest activation, real and of every attack; it writes no table.

    Args:
        attacks: name to attack.
        layers: see :func:`~lightning_advinterp.units.spaces.unit_layers`.
        count: images per unit and kind.
        name: what the analysis is called beside others.
    """

    def __init__(
        self,
        attacks: Mapping[str, Attack] | None = None,
        layers: str | Sequence[str] = "last",
        count: int = 8,
        name: str = "unit_images",
    ) -> None:
        self.kinds, self.layers, self.count, self.name = (REAL, *(attacks or {})), layers, count, name
        self.units: tuple[UnitLayer, ...] = ()
        self._widths: list[int] = []
        self._top = {kind: TopImages(count) for kind in self.kinds}

    def needs(self, network: Network) -> Needs:
        """One sweep over all kinds of images."""
        self.units = unit_layers(network, self.layers)
        return Needs((Sweep(tuple(dict.fromkeys(one.tap for one in self.units)), self.kinds, labels=False),))

    def update(self, sweep: int, seen: Observation) -> None:
        """Rank one batch among the images so far."""
        for kind in self.kinds:
            parts = [reduce_maps(seen.activations[kind][one.tap], "max", one.layer) for one in self.units]
            self._widths = [part.shape[1] for part in parts]
            notes = torch.zeros(len(seen.index), 0, dtype=torch.int32, device=seen.index.device)
            self._top[kind].update(torch.cat(parts, dim=1), seen.index, notes)

    def of(self, kind: str, layer: str, unit: int) -> list[int]:
        """Return the numbers of a unit's images, the strongest first.

        Raises:
            KeyError: if the layer was not looked at.
        """
        first = dict(zip((one.layer for one in self.units), np.cumsum([0, *self._widths]).tolist(), strict=False))
        index = self._top[kind].ranking(self.count).index[first[layer] + unit]
        return [int(number) for number in index if number >= 0]

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images."""
        self._widths = self._widths or list(state["widths"])
        for kind, top in state["top"].items():
            self._top[kind].merge(top)

    def state_dict(self) -> dict[str, Any]:
        """Return what was kept."""
        return {"widths": list(self._widths), "top": {kind: top.state_dict() for kind, top in self._top.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was kept."""
        self._widths = list(state["widths"])
        for kind, top in state["top"].items():
            self._top[kind].load_state_dict(top)

    def result(self) -> Result:
        """Return nothing: what was kept is asked for by :meth:`of`."""
        return Result(self.name)


@dataclass(frozen=True)
class Wanted:
    """Pictures to be made of one unit.

    Attributes:
        tap: where the unit is read.
        unit: its number.
        kind: ``real`` or an attack.
        images: numbers of the images.
        threshold: the activation above which a place is highlighted; None: half of the map's maximum.
    """

    tap: str
    unit: int
    kind: str
    images: tuple[int, ...]
    threshold: float | None = None


@dataclass(frozen=True)
class Pictures:
    """Images as a unit sees them.

    Attributes:
        pictures: uint8 ``[n, H, W, 3]``.
        masks: bool ``[n, H, W]``, where the unit looks.
        predicted: the network's class of each.
    """

    pictures: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    predicted: tuple[int, ...]


def take_pictures(
    network: Network,
    dataset: Any,
    attacks: Mapping[str, Attack],
    wanted: Sequence[Wanted],
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    highlight: Highlight = "activation",
    progress: bool = False,
) -> list[Pictures]:
    """Make the images once more and mark in them what the units look at.

    Args:
        network: the network.
        dataset: the images that a runner showed, which know their numbers by ``indices`` where they are a choice.
        attacks: name to attack, as the runner had them.
        wanted: units and images.
        seed: as the runner had it, so that attacks draw the same numbers.
        device: where the network is.
        batch_size: images at a time.
        highlight: ``activation``: the unit's map, enlarged to the image (bilinear), above its threshold;
            ``discrepancy``: the discrepancy map (Zhou et al. 2015), thousands of forward passes an image.
        progress: draw a progress bar.

    Returns:
        One entry for each of ``wanted``.
    """
    numbers = sorted({number for one in wanted for number in one.images})
    indices = getattr(dataset, "indices", None)
    places = {number: place for place, number in enumerate(indices)} if indices is not None else None
    chosen = [places[number] if places is not None else number for number in numbers]
    part = dataset.only(chosen) if hasattr(dataset, "only") else Subset(dataset, chosen)
    collector = _Collector(network, wanted, highlight, seed)
    if numbers:
        runner = Runner(
            network, part, attacks=attacks, batch_size=batch_size, device=device, seed=seed, progress=progress
        )
        runner.run([collector])
    return [collector.pictures(one) for one in wanted]


class _Collector:
    """Keeps the pictures and masks that are wanted, on the way through a runner."""

    name = "pictures"

    def __init__(self, network: Network, wanted: Sequence[Wanted], highlight: Highlight, seed: int) -> None:
        self._network, self._wanted, self._highlight, self._seed = network, wanted, highlight, seed
        self._found: dict[tuple[Wanted, int], tuple[Tensor, Tensor, int]] = {}

    def needs(self, network: Network) -> Needs:
        taps, kinds = ({getattr(one, key): None for one in self._wanted} for key in ("tap", "kind"))
        return Needs((Sweep(tuple(taps), tuple(kinds), labels=False),))

    def update(self, sweep: int, seen: Observation) -> None:
        for place, number in enumerate(seen.index.tolist()):
            for one in self._wanted:
                if number in one.images:
                    image = seen.images[one.kind][place]
                    activation = seen.activations[one.kind][one.tap][place, one.unit]
                    predicted = int(seen.logits[one.kind][place].argmax())
                    shown = (255 * image).round().clamp(0, 255).byte().cpu()
                    self._found[one, number] = (shown, self._mask(one, image, activation, number), predicted)

    def _mask(self, one: Wanted, image: Tensor, activation: Tensor, number: int) -> Tensor:
        if self._highlight == "discrepancy":
            keys = sample_keys(torch.tensor([number], device=image.device), seed=self._seed)
            found = discrepancy_map(self._network, image[None], one.tap, torch.tensor([one.unit]), keys)[0]
            return (found > _SHARE * found.max()).cpu()
        if activation.dim() != 2:  # a vector has no places
            return torch.ones(image.shape[1:], dtype=torch.bool)
        enlarged = F.interpolate(activation[None, None].float(), image.shape[1:], mode="bilinear", align_corners=False)[
            0, 0
        ]
        threshold = one.threshold if one.threshold is not None else _SHARE * float(enlarged.max())
        return (enlarged > threshold).cpu()

    def pictures(self, one: Wanted) -> Pictures:
        found = [self._found[one, number] for number in one.images if (one, number) in self._found]
        if not found:
            return Pictures(np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 1, 1), bool), ())
        images = torch.stack([image for image, _, _ in found]).permute(0, 2, 3, 1)
        masks = torch.stack([mask for _, mask, _ in found])
        return Pictures(images.numpy(), masks.numpy(), tuple(label for *_, label in found))

    def merge(self, state: dict[str, Any]) -> None:
        self._found |= state["found"]

    def state_dict(self) -> dict[str, Any]:
        return {"found": dict(self._found)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._found = dict(state["found"])

    def result(self) -> Result:
        return Result(self.name)
