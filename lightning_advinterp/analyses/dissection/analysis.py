"""Network dissection on real and adversarial images, of any layers at once: Table 1 of Dong et al. 2022."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.remembered import RememberedPasses
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.dissection.config import NOISE, DissectionConfig, check_names
from lightning_advinterp.analyses.dissection.state import DissectionState
from lightning_advinterp.analyses.dissection.tables import DissectionTables
from lightning_advinterp.analyses.dissection.views import ViewReader, partners, views_of
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.metrics.dissection import Tally
from lightning_advinterp.metrics.label_maps import BatchLabels, ImageLabels, Vocabulary, batch_labels, image_labels
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import UnitSpace, unit_space

if TYPE_CHECKING:
    from lightning_advinterp.data.broden import ConceptSet

_READERS = 4  # threads; decoding PNGs releases the interpreter


class DissectionAnalysis(Summed):
    """Which concepts units detect, on real and on adversarial images, and what they keep of them.

    The first sweep takes the thresholds. A second one refines them, all with ``exact``, else those that the first one's
    memory did not suffice for; mostly there are none, and it is left out. The last one counts. The set's labels are
    read by number of image as batches come. What the tables hold:
    :mod:`lightning_advinterp.analyses.dissection.tables`.

    Memory: for every layer, unit, kind of images, group and label 4 bytes (8 with one or two groups), whatever the
    number of images; and for the thresholds at most 57 kB a unit (sizes measured: docs/dissection.md). With ``keep``
    activations are held too, without a bound.

    Args:
        dataset: the set that the runner shows, whole: choose images by its ``only``, not by the runner's ``limit``, so
            that all statements are about the same images.
        attacks: name to attack.
        config: how to count.
    """

    name = "dissection"
    summed = ("_state",)

    def __init__(
        self,
        dataset: ConceptSet,
        attacks: Mapping[str, Attack] | None = None,
        config: DissectionConfig | None = None,
    ) -> None:
        if len(dataset) < 2:
            raise ValueError(f"dissection needs 2 images or more, got {len(dataset)}.")
        self.dataset, self.attacks = dataset, dict(attacks or {})
        check_names(list(self.attacks))
        self.config = config = config or DissectionConfig()
        self.vocabulary = Vocabulary(
            {number: concept.category for number, concept in dataset.concepts.items()}, dataset.categories
        )
        self.views = views_of(config, list(self.attacks))
        self.space = UnitSpace(())
        self._partners = partners(dataset.indices, config.seed)
        self._reader: ViewReader | None = None
        self._state = DissectionState(config, self.vocabulary, len(dataset), tuple(self.attacks))
        self._kept: list[tuple[Observation, dict[str, dict[str, Tensor]], dict[str, dict[str, float]]]] = []

    def bind(self, network: Network) -> Plan:
        """Thresholds, their refinement if asked for, counts."""
        self.space = unit_space(network, self.config.layers)
        self.space.require_places("dissection")
        self._reader = ViewReader(network, self.space, self.config.seed)
        views = list(self.views)
        if self.config.keep:
            return Plan((self._sweep(views), Sweep(kinds=(), labels=False)))
        first = self._sweep([name for name in views if self.views[name].own_thresholds])
        return Plan((first, replace(first, optional=not self.config.exact), self._sweep(views)))

    def remember(self, most: int) -> None:
        """Hold so many bytes of what the network with random weights returns, between the sweeps."""
        if self._reader is not None and not self.config.keep:
            self._reader.passes = RememberedPasses(most)

    @property
    def held(self) -> int:
        """Bytes of these that were held at once, at most."""
        return 0 if self._reader is None else self._reader.passes.held

    def skips(self, sweep: int) -> bool:
        """The second sweep refines thresholds, if any are to be refined."""
        return sweep == 1 and not self.config.keep and not self._state.refined

    def _sweep(self, views: Sequence[str]) -> Sweep:
        return Sweep(
            layers=self.space.taps,
            kinds=tuple(dict.fromkeys(self.views[name].kind for name in views)),
            labels=False,
            resumable=not self.config.keep,
            forwards=sum(name == "random" or name.endswith(NOISE) for name in views),
        )

    def update(self, sweep: int, observation: Observation) -> None:
        """Count one batch."""
        keep = self.config.keep
        counting = sweep == 2
        if (keep and sweep) or self._reader is None:
            return
        if counting:
            self._reader.passes.let_go()
        views = [view for view in self.views.values() if counting or keep or view.own_thresholds]
        reader = self._reader
        if counting:  # one view's maps at a time: they may be most of a process' memory
            one_by_one = ((view.name, reader.maps(view, observation)) for view in views)
            self._tally(observation, one_by_one, self._state.reach(observation))
            return
        maps: dict[str, dict[str, Tensor]] = {}
        for view in views:
            layer_maps = reader.maps(view, observation)
            for layer, values in layer_maps.items():
                if sweep == 1:
                    self._state.refine(view.name, layer, values)
                elif view.own_thresholds:
                    self._state.quantile(view.name, layer).update(values)
            if keep:
                maps[view.name] = layer_maps
        if keep:
            # Images are larger than the maps of a last layer; what a count needs of them is known by now.
            lean = replace(observation, images={}, logits={}, activations={}, goal={})
            self._kept.append((lean, maps, self._state.reach(observation)))

    def _tally(
        self,
        observation: Observation,
        maps: Iterable[tuple[str, Mapping[str, Tensor]]],
        reached: Mapping[str, Mapping[str, float]],
    ) -> None:
        self._state.note(reached)
        labels, partner_labels = self._labels(observation.index)
        for name, layers in maps:
            view = self.views[name]
            if view.shuffled:
                continue  # the active pixels of real images are counted against both kinds of labels at once
            group = view.group(observation, self.config.seed)
            shuffled = [control for control in self.views.values() if control.shuffled] if name == REAL else []
            for layer, values in layers.items():
                beside = [
                    Tally(
                        self._state.count(control, layer, values),
                        partner_labels,
                        control.group(observation, self.config.seed),
                    )
                    for control in shuffled
                    if partner_labels is not None
                ]
                thresholds = self._thresholds(name)[layer].to(values.device)
                counts = self._state.count(view, layer, values)
                counts.update(values, thresholds, labels, self.dataset.label_size, group, beside)

    def _thresholds(self, view: str) -> dict[str, Tensor]:
        return self._state.thresholds[view if self.views[view].own_thresholds else REAL]

    def _labels(self, index: Tensor) -> tuple[BatchLabels, BatchLabels | None]:
        """Read the labels of a batch, and those of its images' partners where they are wanted."""
        numbers = index.tolist()
        shuffled = any(view.shuffled for view in self.views.values())
        labelled_numbers = numbers + [self._partners[number] for number in numbers] * shuffled
        with ThreadPoolExecutor(_READERS) as pool:
            per_image = list(pool.map(self._labels_of, labelled_numbers))
        labels = batch_labels(per_image[: len(numbers)], self.vocabulary, index.device)
        partner_labels = batch_labels(per_image[len(numbers) :], self.vocabulary, index.device) if shuffled else None
        return labels, partner_labels

    def _labels_of(self, number: int) -> ImageLabels:
        maps, image_wide = self.dataset.segmentation(number)
        return image_labels(maps, image_wide, self.vocabulary, self.dataset.label_size, self.config.rule)

    def settle(self, sweep: int) -> None:
        """Turn the merged counts of a sweep into thresholds, and count what was kept."""
        thresholds_known = self._state.settle(sweep)
        if self.config.keep and self._state.refined:
            for _, maps, _ in self._kept:
                for view, layers in maps.items():
                    for layer, values in layers.items():
                        self._state.refine(view, layer, values)
            thresholds_known = self._state.settle(1)
        if thresholds_known:
            kept_batches, self._kept = self._kept, []
            for observation, maps, reached in kept_batches:
                self._tally(observation, maps.items(), reached)

    def result(self) -> Result:
        """Return the tables, and ratios of all units together as ``{images}/{category}``."""
        tables = DissectionTables(
            self.config,
            names={number: concept.name for number, concept in self.dataset.concepts.items()},
            categories=self.dataset.categories,
            taps={unit.layer: unit.reading for unit in self.space},
            eps={name: attack.eps for name, attack in self.attacks.items()},
            reached=self._state.reached,
            thresholds={kind: self._thresholds(kind) for kind in (REAL, *self.attacks)},
            counts=self._state.counts,
        )
        origin = {
            "config": asdict(self.config),
            "concepts": {"fingerprint": self.dataset.fingerprint, "images": len(self.dataset)},
            "quantile_position": "hazen",
            "upsampling": "bilinear at half-pixel centres, antialiased when shrinking",
        }
        return Result(self.name, scalars=tables.scalars(), tables=tables.tables(), provenance=origin)
