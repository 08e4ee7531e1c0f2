"""Network dissection on real and adversarial images, of any layers at once: Table 1 of Dong et al. 2022."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_advinterp.analyses.analysis import REAL, Needs, Observation, Result, Sweep
from lightning_advinterp.analyses.dissection_config import NOISE, DissectionConfig
from lightning_advinterp.analyses.dissection_tables import DissectionTables
from lightning_advinterp.analyses.dissection_views import (
    bags,
    check_maps,
    partners,
    random_twin,
    rotated,
    rotation,
    sign_noise,
)
from lightning_advinterp.attacks.attack import Attack
from lightning_advinterp.metrics.dissection import ConceptCounts
from lightning_advinterp.metrics.label_maps import BatchLabels, Vocabulary, batch_labels, image_labels
from lightning_advinterp.metrics.quantile import RefinedQuantile, TopQuantile
from lightning_advinterp.networks.conv_layers import conv_taps
from lightning_advinterp.networks.network import Network
from lightning_advinterp.randomness import sample_keys

if TYPE_CHECKING:
    from lightning_advinterp.data.broden import ConceptSet


@dataclass
class View:
    """One way to look at the images: what is read, with which thresholds, against which labels.

    Attributes:
        name: ``real``, an attack, an attack's noise, or a control.
        kind: the image kind that it depends on.
        own: whether it has thresholds of its own; else those of the real images.
        shuffled: whether it is held against another image's labels.
        groups: into how many groups of images it is counted.
    """

    name: str
    kind: str = REAL
    own: bool = True
    shuffled: bool = False
    groups: int = 1


class DissectionAnalysis:
    """Which concepts units detect, on real and on adversarial images, and what they keep of them.

    Sweep 1 takes the thresholds, with ``exact`` sweep 2 refines them, the last one counts. The set's labels are read
    by number of image as batches come.

    Tables: ``dissection`` (one row per layer, unit and kind of images), ``dissection_summary`` (detectors, ratios with
    intervals and controls per layer and category), ``dissection_retention`` (what each unit keeps under attack),
    ``dissection_retention_summary``. Their columns: :mod:`lightning_advinterp.analyses.dissection_tables`.

    Memory: per layer, kind of images and group 4 bytes for every unit and label, and 24 bytes for every bin of the
    quantiles (measured in docs/dissection.md); nothing grows with the number of images unless ``keep`` is set.

    Args:
        dataset: the set that the runner shows, whole: choose images by its ``only``, not by the runner's ``limit``, so
            that all statements are about the same images.
        attacks: name to attack.
        config: how to count.
    """

    name = "dissection"

    def __init__(
        self,
        dataset: ConceptSet,
        attacks: Mapping[str, Attack] | None = None,
        config: DissectionConfig | None = None,
    ) -> None:
        self.dataset, self.attacks = dataset, dict(attacks or {})
        self.config = config = config or DissectionConfig()
        if len(dataset) < 2:
            raise ValueError(f"dissection needs 2 images or more, got {len(dataset)}.")
        self.vocabulary = Vocabulary(
            {number: concept.category for number, concept in dataset.concepts.items()}, dataset.categories
        )
        own = config.threshold_source == "recompute"
        self.views = {REAL: View(REAL, groups=config.groups)}
        for name in self.attacks:
            self.views[name] = View(name, name, own, groups=config.groups)
            if config.noise:
                self.views[name + NOISE] = View(name + NOISE, name, own)
        for control in config.controls:
            self.views[control] = View(control, own=control != "shuffled", shuffled=control == "shuffled")
        self._partners = partners(dataset.indices, config.seed)
        self._network: Network | None = None
        self._twin: Network | None = None
        self.taps: dict[str, str] = {}
        self._turns: dict[str, Tensor] = {}
        self._quantiles: dict[str, dict[str, TopQuantile]] = {}
        self._refined: dict[str, dict[str, RefinedQuantile]] = {}
        self._thresholds: dict[str, dict[str, Tensor]] = {}
        self._counts: dict[str, dict[str, ConceptCounts]] = {}
        self._kept: list[tuple[Observation, dict[str, dict[str, Tensor]]]] = []
        self._reached: dict[str, dict[str, float]] = {
            name: {"n": 0, "success": 0, "linf": 0.0} for name in self.attacks
        }

    def needs(self, network: Network) -> Needs:
        """Thresholds, their refinement if asked for, counts."""
        self._network, self.taps = network, read_at(network, self.config.layers)
        taps = tuple(dict.fromkeys(self.taps.values()))
        early = self.views if self.config.keep else {name for name, view in self.views.items() if view.own}
        kinds = tuple(dict.fromkeys(self.views[name].kind for name in early))

        def sweep(names: Sequence[str]) -> Sweep:
            further = sum(name == "random" or name.endswith(NOISE) for name in names)
            shown = tuple(dict.fromkeys(self.views[name].kind for name in names))
            return Sweep(taps, shown, labels=False, resumable=not self.config.keep, forwards=further)

        first = sweep(list(early))
        assert first.kinds == kinds
        last = Sweep(kinds=(), labels=False) if self.config.keep else sweep(list(self.views))
        return Needs((first, first, last) if self.config.exact else (first, last))

    def update(self, sweep: int, seen: Observation) -> None:
        """Count one batch."""
        counting = sweep == (2 if self.config.exact else 1)
        if counting and self.config.keep:
            return
        shown = {name: view for name, view in self.views.items() if counting or view.own or self.config.keep}
        maps = self._maps(seen, shown)
        if counting:
            self._tally(seen, maps)
            return
        for name, layers in maps.items():
            for layer, values in layers.items():
                if sweep == 1:
                    self._refined[name][layer].update(values)
                elif self.views[name].own:
                    self._quantile(name, layer).update(values)
        if self.config.keep:
            self._kept.append((seen, maps))

    def _quantile(self, name: str, layer: str) -> TopQuantile:
        layers = self._quantiles.setdefault(name, {})
        if layer not in layers:
            layers[layer] = TopQuantile(self.config.quantile, len(self.dataset))
        return layers[layer]

    def _maps(self, seen: Observation, views: Mapping[str, View]) -> dict[str, dict[str, Tensor]]:
        """Return each view's activations by layer, ``[B, U, H, W]``."""
        found = {}
        for name, view in views.items():
            if name == "random":
                read: Mapping[str, Tensor] = self._forward(self._random(), seen.images[REAL])
            elif name.endswith(NOISE):
                keys = sample_keys(seen.index, seed=self.config.seed)
                assert self._network is not None
                read = self._forward(self._network, sign_noise(seen.images[REAL], seen.images[view.kind], keys))
            else:
                read = seen.activations[view.kind]
            found[name] = {layer: read[tap] for layer, tap in self.taps.items()}
            for layer, maps in found[name].items():
                check_maps(layer, maps)
            if name == "rotated":
                found[name] = {layer: rotated(maps, self._turn(layer, maps)) for layer, maps in found[name].items()}
        return found

    def _forward(self, network: Network, x: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return network.forward_features(x, tuple(dict.fromkeys(self.taps.values())))[1]

    def _random(self) -> Network:
        if self._twin is None:
            assert self._network is not None
            self._twin = random_twin(self._network, self.config.seed)
        return self._twin

    def _turn(self, layer: str, maps: Tensor) -> Tensor:
        if layer not in self._turns:
            place = list(self.taps).index(layer)
            self._turns[layer] = rotation(maps.shape[1], self.config.seed, place, maps)
        return self._turns[layer]

    def _tally(self, seen: Observation, maps: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, reached in self._reached.items():
            delta = (seen.images[name] - seen.images[REAL]).flatten(1)
            reached["n"] += len(seen.index)
            reached["success"] += int(seen.success[name].sum())
            reached["linf"] += float(delta.abs().amax(1).double().sum())
        labels, others = self._labels(seen.index, any(view.shuffled for view in self.views.values()))
        group = bags(seen.index, self.config.groups, self.config.seed)
        for name, layers in maps.items():
            view = self.views[name]
            held = others if view.shuffled and others is not None else labels
            own = group if view.groups > 1 else torch.zeros_like(group)
            for layer, values in layers.items():
                thresholds = self._thresholds[name if view.own else REAL][layer].to(values.device)
                self._count(view, layer, values).update(values, thresholds, held, self.dataset.label_size, own)

    def _count(self, view: View, layer: str, maps: Tensor) -> ConceptCounts:
        layers = self._counts.setdefault(view.name, {})
        if layer not in layers:
            layers[layer] = ConceptCounts(
                maps.shape[1], self.vocabulary, rule=self.config.rule, groups=view.groups, device=maps.device
            )
        return layers[layer]

    def _labels(self, index: Tensor, shuffled: bool) -> tuple[BatchLabels, BatchLabels | None]:
        """Read the labels of a batch, and those of its images' partners."""
        numbers = index.tolist()
        wanted = numbers + [self._partners[number] for number in numbers] * shuffled

        def one(number: int) -> Any:
            segmentation = self.dataset.segmentation(number)
            return image_labels(
                segmentation.maps, segmentation.whole, self.vocabulary, self.dataset.label_size, self.config.rule
            )

        with ThreadPoolExecutor(4) as pool:  # reading PNGs releases the interpreter
            read = list(pool.map(one, wanted))
        device = index.device
        own = batch_labels(read[: len(numbers)], self.vocabulary, device)
        return own, batch_labels(read[len(numbers) :], self.vocabulary, device) if shuffled else None

    def settle(self, sweep: int) -> None:
        """Turn the merged counts of a sweep into thresholds."""
        if sweep == 0 and self.config.exact:
            self._refined = {
                name: {layer: one.refined() for layer, one in layers.items()}
                for name, layers in self._quantiles.items()
            }
            self._quantiles = {}
        elif sweep == (1 if self.config.exact else 0):
            source: Mapping[str, Mapping[str, TopQuantile | RefinedQuantile]] = self._refined or self._quantiles
            self._thresholds = {
                name: {layer: one.compute() for layer, one in layers.items()} for name, layers in source.items()
            }
            self._quantiles, self._refined = {}, {}
            kept, self._kept = self._kept, []
            for seen, maps in kept:
                self._tally(seen, maps)

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's counts of the sweep under way."""
        for name, layers in state["quantiles"].items():
            for layer, one in layers.items():
                self._quantile(name, layer).merge(one)
        for name, layers in state["refined"].items():
            for layer, one in layers.items():
                self._refined[name][layer].merge(one)
        for name, layers in state["counts"].items():
            for layer, one in layers.items():
                if layer in self._counts.get(name, {}):
                    self._counts[name][layer].merge(one)
                else:
                    self._load_counts(name, layer, one)
        for name, reached in state["reached"].items():
            for key, value in reached.items():
                self._reached[name][key] += value

    def state_dict(self) -> dict[str, Any]:
        """Return counts and thresholds as plain types and tensors."""
        parts: Mapping[str, Mapping[str, Mapping[str, Any]]]
        parts = {"quantiles": self._quantiles, "refined": self._refined, "counts": self._counts}
        states = {
            part: {name: {layer: one.state_dict() for layer, one in layers.items()} for name, layers in found.items()}
            for part, found in parts.items()
        }
        reached = {name: dict(values) for name, values in self._reached.items()}
        return states | {"thresholds": self._thresholds, "reached": reached}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace counts and thresholds."""
        self._quantiles, self._counts = {}, {}
        self._thresholds = {name: dict(layers) for name, layers in state["thresholds"].items()}
        self._reached = {name: dict(values) for name, values in state["reached"].items()}
        for name, layers in state["quantiles"].items():
            for layer, one in layers.items():
                self._quantile(name, layer).load_state_dict(one)
        self._refined = {
            name: {layer: RefinedQuantile.from_state(one) for layer, one in layers.items()}
            for name, layers in state["refined"].items()
        }
        for name, layers in state["counts"].items():
            for layer, one in layers.items():
                self._load_counts(name, layer, one)

    def _load_counts(self, name: str, layer: str, state: dict[str, Tensor]) -> None:
        groups, units, _ = state["intersection"].shape
        counts = ConceptCounts(
            units, self.vocabulary, rule=self.config.rule, groups=groups, device=state["intersection"].device
        )
        counts.load_state_dict(state)
        self._counts.setdefault(name, {})[layer] = counts

    def result(self) -> Result:
        """Return the tables, and ratios of all units together as ``{images}/{category}``."""
        tables = DissectionTables(
            self.config,
            names={number: concept.name for number, concept in self.dataset.concepts.items()},
            categories=self.dataset.categories,
            taps=self.taps,
            eps={name: attack.eps for name, attack in self.attacks.items()},
            reached=self._reached,
            thresholds={name: self._thresholds[name if view.own else REAL] for name, view in self.views.items()},
            counts=self._counts,
        )
        origin = {
            "config": asdict(self.config),
            "concepts": {"fingerprint": self.dataset.fingerprint, "images": len(self.dataset)},
            "quantile_position": "hazen",
            "upsampling": "bilinear at half-pixel centres, antialiased when shrinking",
        }
        return Result(self.name, scalars=tables.scalars(), tables=tables.tables(), provenance=origin)


def read_at(network: Network, layers: str | Sequence[str]) -> dict[str, str]:
    """Return for every layer asked for what is read of it.

    Args:
        network: whose layers are meant.
        layers: ``last``, ``all_conv``, or names.

    Raises:
        ValueError: if the network has no φ, or no convolutions.
    """
    if layers == "all_conv":
        taps = {one.layer: one.tap for one in conv_taps(network)}
        if not taps:
            raise ValueError(f"layers: {network.name} has no convolutions; name the layers to be dissected.")
        return taps
    if layers == "last":
        if network.phi is None:
            raise ValueError(f"layers: {network.name} has no known last feature layer (phi); name the layers instead.")
        return {network.phi: network.phi}
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise ValueError("layers must be last, all_conv, or names of layers, got none.")
    return {name: name for name in names}
