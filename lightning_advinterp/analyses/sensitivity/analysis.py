"""Which units an attack promotes and suppresses, beside noise of the same size (Xu et al. 2019, network level)."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.sensitivity.interpretability import UnitConcept
from lightning_advinterp.analyses.sensitivity.noise import NOISES, noise_kind, noisy_images
from lightning_advinterp.analyses.sensitivity.relations import ClassMeanings, Relations
from lightning_advinterp.analyses.sensitivity.result import build_result
from lightning_advinterp.analyses.sensitivity.state import HALVES, READINGS, Changes, RealUnits
from lightning_advinterp.analyses.sensitivity.tables import Found, LayerWidth
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.metrics.semantics import class_shares
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import UnitLayer, unit_layers
from lightning_advinterp.units.top_images import TopImages, kept_count

_HALF_SEED = 0x73656E73  # "sens"


def halves_of(index: Tensor, seed: int) -> Tensor:
    """Return in which random half of the images each lies, int64 ``[B]``: its own draw, whatever the other images."""
    return sample_keys(index, seed=_HALF_SEED + seed) & 1


class SensitivityAnalysis:
    """Signed change of every unit under attack, in standard deviations of the unit over real images.

    The first sweep learns what units do on real images, the second what attacks and noise make of it. A unit's class
    is the most frequent one among the real images that drive it most. It is taken from one half of the images and
    held against changes on the other half, both ways: on the very images that drive a unit most, any disturbance
    lowers it.

    Args:
        attacks: name to attack, one or more.
        layers: see :func:`~lightning_advinterp.units.spaces.unit_layers`.
        noise: look at noise of the attacks' L∞ and L2 distance too.
        meanings: which classes are near each other; None: units' classes are not looked at.
        share: of the images of a half that count as a unit's top images.
        concepts: layer and unit to what dissection says of it; None: there is none.
        dissected: numbers of images from which that is known too: they do not count where changes are held against it.
        caliper: see :func:`~lightning_advinterp.metrics.matched.matched_pairs`.
        seed: of halves, noise and resampling.
        origin: what else the provenance says.
    """

    name = "sensitivity"

    def __init__(
        self,
        attacks: Mapping[str, Attack],
        *,
        layers: str | Sequence[str] = "last",
        noise: bool = True,
        meanings: ClassMeanings | None = None,
        share: float = 0.01,
        concepts: Mapping[tuple[str, int], UnitConcept] | None = None,
        dissected: frozenset[int] = frozenset(),
        caliper: float = 0.1,
        seed: int = 0,
        origin: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.attacks, self.layers, self.meanings, self.seed = dict(attacks), layers, meanings, seed
        self.kinds = {
            kind: name
            for name in self.attacks
            for kind in (name, *(noise_kind(name, noisy) for noisy in NOISES if noise))
        }
        self.concepts, self.dissected, self.caliper, self.share = concepts, dissected, caliper, share
        self._origin = dict(origin)
        self._noises = NOISES if noise else ()
        self._units: tuple[UnitLayer, ...] = ()
        self._widths: list[int] = []
        self._keep: int | None = None if meanings is not None else 0
        self._real: RealUnits | None = None
        self._settled: dict[str, Tensor] = {}
        self._changes = {kind: Changes() for kind in self.kinds}
        self._relations = None if meanings is None else Relations(meanings, list(self.kinds))
        self._network: Network | None = None

    def expect(self, images: int) -> None:
        """Keep as many top images of each half as the share of all images is: they may all lie in one half."""
        if self.meanings is not None:
            self._keep = kept_count(self.share, images)

    def bind(self, network: Network) -> Plan:
        """One sweep over real images, one with the attacks' and with noise."""
        self._network, self._units = network, unit_layers(network, self.layers)
        taps = tuple(dict.fromkeys(unit.tap for unit in self._units))
        noises = len(self._noises) * len(self.attacks)
        labels = self.meanings is not None
        return Plan((Sweep(taps, labels=labels), Sweep(taps, (REAL, *self.attacks), labels=labels, forwards=noises)))

    def update(self, sweep: int, observation: Observation) -> None:
        """Take in one batch's activations, or their changes."""
        if sweep == 0:
            self._look_at(observation)
            return
        before = self._values(observation.activations[REAL])
        group = halves_of(observation.index, self.seed).cpu()
        dissected = torch.tensor([number in self.dissected for number in observation.index.tolist()])
        group = group + len(HALVES) * dissected.long()
        for name, attack in self.attacks.items():
            moved = observation.attacked.get(name, torch.ones_like(observation.index, dtype=torch.bool)).cpu()
            target = observation.goal[name] if attack.targeted else observation.logits[name].argmax(1)
            classes = (observation.label.cpu()[moved], target.cpu()[moved])
            for kind, activations in self._kinds(name, observation):
                change = (self._values(activations) - before)[moved]
                self._changes[kind].update(change, group[moved])
                self._relate(kind, change, group[moved], classes)

    def _kinds(self, name: str, observation: Observation) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """Yield the activations of an attack's images and of noise as large."""
        assert self._network is not None
        yield name, observation.activations[name]
        keys = sample_keys(observation.index, seed=self.seed)
        taps = tuple(dict.fromkeys(unit.tap for unit in self._units))
        for noise in self._noises:
            x = noisy_images(observation.images[REAL], observation.images[name], keys, noise)
            with torch.no_grad():
                activations = self._network.forward_features(x, taps)[1]
            yield noise_kind(name, noise), activations

    def _values(self, activations: Mapping[str, Tensor]) -> Tensor:
        """Return ``[B, readings · U]`` in float64, in main memory."""
        readings: list[Tensor] = []
        for reading in READINGS:
            readings += [unit.reduced(activations[unit.tap], reading) for unit in self._units]
        return torch.cat(readings, dim=1).double().cpu()

    def _look_at(self, observation: Observation) -> None:
        activations = observation.activations[REAL]
        values = self._values(activations)
        maps = [unit.maps(activations[unit.tap]) for unit in self._units]
        if self._real is None:
            self._widths = [layer_maps.shape[1] for layer_maps in maps]
            self._real = RealUnits(values.shape[1], self._keep)
        self._real.moments.update(values)
        places = torch.cat([_positive(layer_maps) for layer_maps in maps], dim=1)
        self._real.active += places[0]
        self._real.places += places[1]
        half = halves_of(observation.index, self.seed).cpu()
        units = values[:, : values.shape[1] // len(READINGS)]
        for number, top in enumerate(self._real.top):
            rows = (half == number).nonzero().squeeze(1)
            if len(rows):
                top.update(units[rows], observation.index.cpu()[rows], observation.label.cpu()[rows, None])

    def _relate(self, kind: str, change: Tensor, group: Tensor, classes: tuple[Tensor, Tensor]) -> None:
        """Note how units change whose class or concept is near the images' classes."""
        true, target = classes
        rows = ((true >= 0) & (true != target)).nonzero().squeeze(1)
        if self._relations is None or not len(rows):
            return
        true, target, half = true[rows], target[rows], group[rows] % len(HALVES)
        units = sum(self._widths)
        scale = self._settled["deviation"][:units]
        scaled = change[rows, :units] / scale.masked_fill(scale == 0, torch.nan)
        if not self._relations.knows_concepts:
            self._relations.know_concepts([(self.concepts or {}).get(unit) for unit in self._names()])
        other_half = self._settled["modal"][1 - half]
        self._relations.update(kind, scaled, other_half, true, target, self._widths)

    def _names(self) -> list[tuple[str, int]]:
        """Return every unit's layer and number."""
        layers = zip(self._units, self._widths, strict=True)
        return [(unit.layer, number) for unit, width in layers for number in range(width)]

    def settle(self, sweep: int) -> None:
        """Conclude what units do on real images, from all processes' images."""
        if sweep or self._real is None:
            return
        real, self._real = self._real, None
        self._settled = {
            "mean": real.moments.average(),
            "deviation": real.moments.deviation(),
            "active": real.active.double() / real.places,
        }
        if real.top and self.meanings is not None:
            top_images = TopImages(self._keep)
            for half in real.top:
                top_images.merge(half.state_dict())
            self._settled["modal"] = torch.stack([self._modal(half) for half in real.top])
            self._settled["mode"] = self._modal(top_images)

    def _modal(self, top: TopImages) -> Tensor:
        """Return the most frequent class among every unit's top images, −1 for a unit that no image drives."""
        assert self.meanings is not None
        if not top.seen:
            return torch.full((sum(self._widths),), -1)
        ranking = top.ranking(kept_count(self.share, top.seen))
        driven = (ranking.values > 0) & ~ranking.constant[:, None]
        shares = class_shares(ranking.notes[..., 0], driven, len(self.meanings.names))
        return shares.nan_to_num().argmax(1).masked_fill(shares[:, 0].isnan(), -1)

    def merge(self, state: dict[str, Any]) -> None:
        """Add what another process saw in the sweep under way."""
        self._widths = self._widths or list(state["widths"])
        if state["real"] is not None:
            if self._real is None:
                self._real = self._empty()
            self._real.merge(state["real"])
        for kind, changes in state["changes"].items():
            self._changes[kind].merge(changes)
        if self._relations is not None:
            self._relations.merge(state["relations"])

    def _empty(self) -> RealUnits:
        return RealUnits(len(READINGS) * sum(self._widths), self._keep)

    def state_dict(self) -> dict[str, Any]:
        """Return moments, top images and what is settled."""
        return {
            "widths": list(self._widths),
            "real": None if self._real is None else self._real.state_dict(),
            "settled": {name: values.clone() for name, values in self._settled.items()},
            "changes": {kind: changes.state_dict() for kind, changes in self._changes.items()},
            "relations": {} if self._relations is None else self._relations.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace moments, top images and what is settled."""
        self._widths, self._real = list(state["widths"]), None
        self._settled = {name: values.clone() for name, values in state["settled"].items()}
        self._changes = {kind: Changes() for kind in self.kinds}
        if self._relations is not None:
            self._relations.load_state_dict({})
        self.merge(state)

    def ranking(self, half: int) -> list[tuple[str, int]]:
        """Return all units, what is read of them and their number, by falling sensitivity to the first attack.

        Args:
            half: of the images, whose changes count. Dead units come last, equals in their order.
        """
        groups = (half, half + len(HALVES))
        values = self._found().sensitivity(next(iter(self.attacks)), groups=groups)
        order = np.argsort(-np.nan_to_num(values, nan=-1), kind="stable").tolist()
        readings = {unit.layer: unit.reading for unit in self._units}
        names = [(readings[layer], number) for layer, number in self._names()]
        return [names[place] for place in order]

    def _found(self) -> Found:
        units = zip(self._units, self._widths, strict=True)
        return Found(
            layers=tuple(LayerWidth(unit.layer, unit.reading, width) for unit, width in units),
            settled=self._settled,
            changes=self._changes,
            relations={} if self._relations is None else self._relations.moments,
            eps={kind: self.attacks[name].eps for kind, name in self.kinds.items()},
            concepts=self.concepts,
            names=() if self.meanings is None else self.meanings.names,
        )

    def result(self) -> Result:
        """Return the tables and scalars."""
        if not self._settled:
            return Result(self.name)
        result = build_result(self.name, self._found(), tuple(self.attacks), self.caliper, self.seed)
        result.provenance.update(self._origin)
        return result


def _positive(maps: Tensor) -> Tensor:
    """Return how many places of a batch are above zero in every unit, and how many there are: int64 ``[2, U]``."""
    places = maps.transpose(0, 1).flatten(1)
    return torch.stack([(places > 0).sum(1), torch.full((len(places),), places.shape[1]).to(places.device)]).cpu()
