"""Do units answer to a patch wherever it is? "Recurrent discriminative patches" (Dong et al. 2017) as a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.core.randomness import mix, sample_keys, uniform
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.until import forward_until
from lightning_advinterp.units.maps import reduced
from lightning_advinterp.units.spaces import UnitSpace, unit_space
from lightning_advinterp.units.top_images import TopImages

_MOVE, _SHUFFLE = 0x6D6F7665, 0x73687566  # "move", "shuf"
WAYS = ("plain", "pasted", "moved", "shuffled")


@dataclass(frozen=True)
class PatchesConfig:
    """Which units, and which patch.

    Attributes:
        units: these units of every layer; empty: ``count`` of them, evenly spaced over those that ever fire.
        count: units per layer.
        share: side of the patch, as a share of the image's.
        limit: number of images that patches are pasted into, a seeded choice.
    """

    units: tuple[int, ...] = ()
    count: int = 8
    share: float = 0.25
    limit: int = 50

    def __post_init__(self) -> None:
        if self.count < 1 or self.limit < 2:
            raise ValueError(f"count must be 1 or more and limit 2 or more, got {self.count} and {self.limit}.")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {self.share}.")


@dataclass(frozen=True)
class Patch:
    """A unit's top patch.

    Attributes:
        layer: the unit's layer.
        tap: where it is read.
        unit: its number.
        image: number of the image that it is cut from, the unit's strongest.
        activation: of the unit there.
        pixels: ``[3, s, s]``.
        corner: row and column of its first pixel in that image.
    """

    layer: str
    tap: str
    unit: int
    image: int
    activation: float
    pixels: Tensor
    corner: tuple[int, int]


class PatchesAnalysis(Summed):
    """Pastes every unit's top patch into other images, and sees whether the unit answers to it there.

    The patch is the square around the place of the unit's strongest activation over all images. The table ``patches``
    has a row per unit: ``layer, unit, image`` (where the patch is from), ``activation`` (there), ``n`` (other images),
    then the unit's mean response (its largest activation in the image) to these images ``plain``, with the patch
    ``pasted`` at its own place, ``moved`` to a random place, and with its pixels ``shuffled`` (the control: the same
    colours, no shape). A unit that answers to the patch whatever is around it has ``pasted`` and ``moved`` near
    ``activation`` and ``shuffled`` near ``plain``; ``recurrence`` is (moved − shuffled) / (activation − plain), 1 for
    such a unit and 0 for one that needs the rest of its image. The paper describes the patches, not a number: the
    definition is this project's.

    Args:
        dataset: the images that the runner shows.
        layers: see :func:`~lightning_advinterp.units.spaces.unit_space`; those that return vectors have no patches.
        config: which units, which patch.
        seed: of places and shuffles.
    """

    name = "patches"
    summed = ("_top",)
    united = ("_sums",)
    settled = ("_sizes", "_patches", "_others")
    records: ClassVar[Mapping[str, type]] = {"_patches": Patch}

    def __init__(
        self,
        dataset: Any,
        layers: str | Sequence[str] = "last",
        config: PatchesConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.images, self.layers, self.config = as_image_set(dataset), layers, config or PatchesConfig()
        self.seed = seed
        self._network: Network | None = None
        self._units = UnitSpace(())
        self._top: list[TopImages] = []
        self._sizes: list[tuple[int, int]] = []
        self._patches: list[Patch] = []
        self._others: set[int] = set()
        self._sums: dict[int, dict[int, list[float]]] = {}

    def bind(self, network: Network) -> Plan:
        """One sweep for the patches, one to paste them."""
        self._network, self._units = network, unit_space(network, self.layers)
        self._top = [TopImages(1, 1) for _ in self._units]
        taps = self._units.taps
        count = len(self.config.units) or self.config.count
        pastes = (len(WAYS) - 1) * count * len(self._units) * min(1, (self.config.limit + 1) / len(self.images))
        return Plan((Sweep(taps, labels=False), Sweep(taps, labels=False)), passes=(pastes, 0))

    def update(self, sweep: int, observation: Observation) -> None:
        """Rank one batch, or paste into it."""
        if sweep == 0:
            self._rank(observation)
            return
        chosen = [place for place, number in enumerate(observation.index.tolist()) if number in self._others]
        if not chosen:
            return
        at = torch.tensor(chosen, device=observation.index.device)
        index, x = observation.index[at], observation.images[REAL][at]
        for place, patch in enumerate(self._patches):
            responses = self._sums.setdefault(place, {})
            plain = self._maps(patch, observation.activations[REAL][patch.tap][at])
            for number, values in zip(index.tolist(), self._responses(patch, index, x, plain).tolist(), strict=True):
                if number != patch.image:
                    responses[number] = values

    def _rank(self, observation: Observation) -> None:
        layer_maps = [unit.maps(observation.activations[REAL][unit.tap]) for unit in self._units]
        self._sizes = [(maps.shape[2], maps.shape[3]) for maps in layer_maps]
        notes = torch.zeros(len(observation.index), 0, dtype=torch.int32, device=observation.index.device)
        for unit, top, maps in zip(self._units, self._top, layer_maps, strict=True):
            if not unit.has_places:  # there is no place to paste at; panels of it have no patches
                continue

            def locate(image: Tensor, channel: Tensor, maps: Tensor = maps) -> Tensor:
                flat = maps[image, channel].flatten(1).argmax(1)
                return torch.stack([flat // maps.shape[3], flat % maps.shape[3]], 1)

            top.update(reduced(maps, "max"), observation.index, notes, locate)

    def settle(self, sweep: int) -> None:
        """Cut the patches out, once all processes agree on the strongest images."""
        if sweep != 0:
            return
        indices = self.images.indices
        places = {number: place for place, number in enumerate(indices)}
        # A folder's first images are of one class: a random choice is of all.
        chosen = subset_indices(len(indices), self.config.limit + 1, self.seed).tolist()
        self._others = {indices[place] for place in chosen}
        self._patches = []
        for unit, top, size in zip(self._units, self._top, self._sizes, strict=True):
            if not top.seen:
                continue
            ranking, spots = top.ranking(1), top.places()
            alive = (ranking.values[:, 0] > 0).nonzero().flatten().tolist()
            for number in self.config.units or _spaced(alive, self.config.count):
                if not 0 <= number < len(ranking.values):
                    raise ValueError(
                        f"units: layer {unit.layer!r} has units 0 to {len(ranking.values) - 1}, got {number}."
                    )
                image = int(ranking.index[number, 0])
                pixels = self.images[places[image]].image
                pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
                row, column = spots[number, 0].tolist()
                centre = ((row + 0.5) / size[0], (column + 0.5) / size[1])
                strongest = float(ranking.values[number, 0])
                cut, corner = _cut(pixels, centre, self.config.share)
                self._patches.append(Patch(unit.layer, unit.tap, number, image, strongest, cut, corner))
        self._top = [TopImages(1, 1) for _ in self._units]  # what later sweeps merge begins anew

    def _responses(self, patch: Patch, index: Tensor, x: Tensor, plain: Tensor) -> Tensor:
        """The unit's largest activation in every image, ``[B, 4]``: plain, pasted, moved, shuffled."""
        network = self._network
        assert network is not None
        pixels = patch.pixels.to(x)
        side = pixels.shape[1]
        keys = mix(sample_keys(index, seed=self.seed), patch.unit)
        room = torch.tensor([x.shape[2] - side + 1, x.shape[3] - side + 1], device=x.device)
        moved = (uniform(keys, (2,), stream=_MOVE).to(x.device) * room).long()
        order = uniform(keys, (side * side,), stream=_SHUFFLE).argsort(dim=1)
        shuffled = pixels.flatten(1)[:, order].movedim(1, 0).view(len(x), 3, side, side)
        source_corner = torch.tensor(patch.corner, device=x.device).expand(len(x), 2)
        maps = [plain]
        with torch.no_grad():
            for corner, content in ((source_corner, pixels), (moved, pixels), (source_corner, shuffled)):
                maps.append(self._maps(patch, forward_until(network, _paste(x, content, corner), patch.tap)))
        return torch.stack([layer_maps[:, patch.unit].flatten(1).amax(1) for layer_maps in maps], 1).float().cpu()

    def _maps(self, patch: Patch, output: Tensor) -> Tensor:
        return next(unit for unit in self._units if unit.layer == patch.layer).maps(output)

    def result(self) -> Result:
        """Return a row per unit, and the mean recurrence of every layer."""
        rows: list[Row] = []
        for place, patch in enumerate(self._patches):
            responses = self._sums.get(place, {})
            values = torch.tensor([responses[number] for number in sorted(responses)], dtype=torch.float64).view(
                -1, len(WAYS)
            )
            means: Mapping[str, float] = dict(zip(WAYS, values.mean(0).tolist(), strict=True))
            row: Row = {"layer": patch.layer, "unit": patch.unit, "image": patch.image}
            row |= {"activation": patch.activation, "n": len(responses), **means}
            gain = patch.activation - means["plain"]
            rows.append(row | {"recurrence": (means["moved"] - means["shuffled"]) / gain if gain > 0 else None})
        scalars = {}
        for layer in dict.fromkeys(row["layer"] for row in rows):
            recurrences = [row["recurrence"] for row in rows if row["layer"] == layer and row["recurrence"] is not None]
            if recurrences:
                scalars[f"patches/{layer}/recurrence"] = sum(recurrences) / len(recurrences)
        return Result(self.name, scalars, {"patches": rows})


def _spaced(numbers: Sequence[int], count: int) -> list[int]:
    """Return ``count`` of the numbers, evenly spaced."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[round(place * (len(numbers) - 1) / max(1, count - 1))] for place in range(count)]


def _cut(image: Tensor, centre: tuple[float, float], share: float) -> tuple[Tensor, tuple[int, int]]:
    """Return the square around a centre (in shares of the sides), pushed inside the image, and its first pixel."""
    height, width = image.shape[1:]
    side = max(1, round(share * min(height, width)))
    first_row, first_column = (
        min(max(0, round(at * length - side / 2)), length - side)
        for at, length in zip(centre, (height, width), strict=True)
    )
    return image[:, first_row : first_row + side, first_column : first_column + side].clone(), (first_row, first_column)


def _paste(x: Tensor, patch: Tensor, corner: Tensor) -> Tensor:
    """Return images with a patch (one, or one each) at a corner of each, ``[B, 3, H, W]``."""
    side = patch.shape[-1]
    offsets = torch.arange(side, device=x.device)
    pasted = x.clone()
    batch = torch.arange(len(x), device=x.device)[:, None, None, None]
    channels = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    rows, columns = corner[:, :1] + offsets, corner[:, 1:] + offsets
    pasted[batch, channels, rows[:, None, :, None], columns[:, None, None, :]] = patch.expand(len(x), -1, -1, -1)
    return pasted
