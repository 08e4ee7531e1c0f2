"""The tables of a dissection, from its counts.

- ``dissection``: ``layer, unit, images, threshold, label, category, iou``, then ``<category>_label`` and
  ``<category>_iou``, ``eps`` (of attacks), ``tap`` (what was read).
- ``dissection_summary``, per layer (and ``all`` of them), images and category (and ``all``): ``detectors, ratio,
  unique`` where a unit counts in its best category if IoU ≥ τ, ``ratio_low, ratio_high`` (95 %, bootstrap over images);
  ``detectors_every, ratio_every, unique_every`` where it counts in every category with IoU > τ (the paper's figures);
  the ratio under each control, on real images; ``units, n``; for attacks ``eps, success, linf`` (mean).
- ``dissection_retention``, per unit and attack: what it detects on real images, and what is ``kept`` under attack:
  ``concept``, ``category`` (another label of the same), ``other``, ``lost``, empty for a unit that is no detector;
  ``noise_kept`` under random-sign noise as large, ``half_kept`` on one random half of the real images of what it
  detects on the other.
- ``dissection_retention_summary``: shares of the detectors, per layer and ``change`` (``attack``, ``noise``,
  ``split_half``, and where asked for ``success`` and ``failure``: the attack on the images on which it succeeds or
  fails, held against the same images without it; ``noise_success`` and ``noise_failure``: noise on these images),
  cumulative: the same concept, the same category, any, with Wilson intervals; and lost.
- ``dissection_success``, where asked for: ``detectors, ratio, unique`` as in the summary, per layer, attack, ``change``
  (``failure``, ``success``) and category; ``real_…`` on the real versions of the same images, ``noise_…`` under noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_advinterp.analyses.dissection.config import NOISE, PAIRED, DissectionConfig
from lightning_advinterp.analyses.dissection.ratios import ALL, concepts_of, detector_ratios, joined
from lightning_advinterp.analyses.dissection.success import CHANGES, concepts_where, success_rows
from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.metrics.concepts import Kept, UnitConcepts, retained
from lightning_advinterp.metrics.detector_bootstrap import centred_interval, group_weights, resampled_detectors
from lightning_advinterp.metrics.dissection import ConceptCounts
from lightning_advinterp.metrics.intervals import wilson_interval

_BOOTSTRAP = 5


class DissectionTables:
    """Reads the tables and the log's scalars from counts.

    Args:
        config: how was counted.
        names: label number to name.
        categories: their names.
        taps: layer to what was read of it.
        eps: attack to its ε.
        reached: attack to ``n``, ``success`` and the sum of ``linf``.
        thresholds: view to layer to ``[U]``.
        counts: view to layer to counts.
    """

    def __init__(
        self,
        config: DissectionConfig,
        *,
        names: Mapping[int, str],
        categories: Sequence[str],
        taps: Mapping[str, str],
        eps: Mapping[str, float | None],
        reached: Mapping[str, Mapping[str, float]],
        thresholds: Mapping[str, Mapping[str, Tensor]],
        counts: Mapping[str, Mapping[str, ConceptCounts]],
    ) -> None:
        self.config, self.names, self.categories, self.taps = config, names, tuple(categories), taps
        self.eps, self.reached, self.thresholds, self.counts = eps, reached, thresholds, counts
        self.kinds = (REAL, *eps)

    @cached_property
    def concepts(self) -> dict[str, dict[str, UnitConcepts]]:
        """View to layer to what its units detect."""
        return {
            view: {layer: concepts_of(layers[layer]) for layer in self.taps} for view, layers in self.counts.items()
        }

    def tables(self) -> dict[str, list[Row]]:
        """Return all tables."""
        tables = {"dissection": list(self._units()), "dissection_summary": self._summary}
        if self.eps:
            tables["dissection_retention"] = list(self._retention())
        if self.eps and self.config.by_success:
            split = success_rows(self.counts, self._layers(), self.categories, self.eps, self.config.iou)
            tables["dissection_success"] = list(split)
        return tables | {"dissection_retention_summary": list(self._retention_summary())}

    def scalars(self) -> dict[str, float]:
        """Return ratios of all units beside the controls', unique detectors, and the shares that keep their concept."""
        scalars = {}
        for row in self._summary:
            if row["layer"] == (ALL if len(self.taps) > 1 else next(iter(self.taps))):
                scalars[f"{row['images']}/{row['category']}"] = row["ratio"]
                if row["images"] == REAL:
                    scalars |= {f"{control}/{row['category']}": row[control] for control in self.config.controls}
                if row["category"] == ALL:
                    scalars[f"{row['images']}/unique"] = float(row["unique"])
        for row in self._retention_summary():
            if row["layer"] == (ALL if len(self.taps) > 1 else next(iter(self.taps))) and row["detectors"]:
                prefix = "" if row["images"] == REAL else f"{row['images']}/"
                suffix = "" if row["change"] == "attack" else f"_{row['change']}"
                scalars[f"{prefix}retention{suffix}"] = row["same_concept"]
        return scalars

    def _name(self, number: int) -> str | None:
        return self.names[number] if number else None

    def _units(self) -> Iterator[Row]:
        for kind in self.kinds:
            for layer, tap in self.taps.items():
                concepts, thresholds = self.concepts[kind][layer], self.thresholds[kind][layer].tolist()
                for unit, threshold in enumerate(thresholds):
                    yield {
                        "layer": layer,
                        "unit": unit,
                        "images": kind,
                        "threshold": threshold,
                        **self._best(concepts, unit),
                        **self._by_category(concepts, unit),
                        "eps": self.eps.get(kind),
                        "tap": tap,
                    }

    def _best(self, concepts: UnitConcepts, unit: int, prefix: str = "") -> Row:
        label = self._name(int(concepts.best_label[unit]))
        category = self.categories[concepts.category[unit]] if label else None
        iou = float(concepts.best_iou[unit])
        return {f"{prefix}label": label, f"{prefix}category": category, f"{prefix}iou": iou}

    def _by_category(self, concepts: UnitConcepts, unit: int) -> Row:
        row: Row = {}
        for number, category in enumerate(self.categories):
            row[f"{category}_label"] = self._name(int(concepts.label[unit, number]))
            row[f"{category}_iou"] = float(concepts.iou[unit, number])
        return row

    def _layers(self) -> dict[str, tuple[str, ...]]:
        """Every layer by itself, and all together where there are several."""
        layers = {layer: (layer,) for layer in self.taps}
        return layers | ({ALL: tuple(self.taps)} if len(layers) > 1 else {})

    def _joined(self, view: str, layers: Sequence[str]) -> UnitConcepts:
        return joined([self.concepts[view][layer] for layer in layers])

    @cached_property
    def _resampled(self) -> dict[str, dict[str, NDArray[np.int64]]]:
        weights = group_weights(self.config.groups, self.config.replicates, mixed_seed(self.config.seed, _BOOTSTRAP))
        detectors: dict[str, dict[str, NDArray[np.int64]]] = {}
        for kind in self.kinds:
            for layer in self.taps:
                counts = self.counts[kind][layer]
                drawn = np.tile(weights, len(counts.images) // self.config.groups)  # groups split by success
                detectors.setdefault(kind, {})[layer] = resampled_detectors(counts, drawn, self.config.iou)
        return detectors

    @cached_property
    def _summary(self) -> list[Row]:
        return list(self._summarise())

    def _summarise(self) -> Iterator[Row]:
        for layer, layers in self._layers().items():
            controls = {
                control: detector_ratios(self._joined(control, layers), self.config.iou).ratio
                for control in self.config.controls
            }
            for kind in self.kinds:
                concepts = self._joined(kind, layers)
                best = detector_ratios(concepts, self.config.iou)
                in_every_category = detector_ratios(concepts, self.config.iou, "every")
                bounds = self._intervals(kind, layers, best.ratio, len(concepts.iou))
                for place, category in enumerate((*self.categories, ALL)):
                    yield {
                        "layer": layer,
                        "images": kind,
                        "category": category,
                        "detectors": best.detectors[place],
                        "ratio": best.ratio[place],
                        "unique": best.unique[place],
                        **bounds[place],
                        "detectors_every": in_every_category.detectors[place],
                        "ratio_every": in_every_category.ratio[place],
                        "unique_every": in_every_category.unique[place],
                        **{name: values[place] if kind == REAL else None for name, values in controls.items()},
                        "units": len(concepts.iou),
                        "n": int(self.counts[kind][layers[0]].images.sum()),
                        **self._attack(kind),
                    }

    def _intervals(self, kind: str, layers: Sequence[str], ratios: Sequence[float], units: int) -> list[Row]:
        """Return the interval of each ratio as columns."""
        if not self.config.replicates:
            return [{"ratio_low": None, "ratio_high": None} for _ in ratios]
        counts = np.sum([self._resampled[kind][layer] for layer in layers], axis=0) / units
        bounds = (centred_interval(ratio, drawn) for ratio, drawn in zip(ratios, counts.T, strict=True))
        return [{"ratio_low": low, "ratio_high": high} for low, high in bounds]

    def _attack(self, kind: str) -> Row:
        if kind == REAL:
            return {"eps": None, "success": None, "linf": None}
        reached = self.reached[kind]
        return {"eps": self.eps[kind], **{key: reached[key] / reached["n"] for key in ("success", "linf")}}

    def _kept(self, view: str, layer: str) -> list[Kept | None]:
        return retained(self.concepts[REAL][layer], self.concepts[view][layer], self.config.iou)

    def _kept_where(self, view: str, kind: str, layer: str, change: str) -> list[Kept | None]:
        """The same on the images alone on which an attack fails, or succeeds."""
        real, attacked = (concepts_where(self.counts[name][layer], change) for name in (kind + PAIRED, view))
        return retained(real, attacked, self.config.iou)

    @cached_property
    def _halves(self) -> dict[str, list[Kept | None]]:
        """Layer to what one half of the real images says of the detectors that the other half gives."""
        odd = torch.arange(self.config.groups) % 2
        retentions = {}
        for layer in self.taps:
            counts = self.counts[REAL][layer]
            first, second = (concepts_of(counts, weights) for weights in (1 - odd, odd))
            retentions[layer] = retained(first, second, self.config.iou)
        return retentions

    def _retention(self) -> Iterator[Row]:
        for kind in self.eps:
            for layer, tap in self.taps.items():
                real, attacked = self.concepts[REAL][layer], self.concepts[kind][layer]
                retentions, halves = self._kept(kind, layer), self._halves[layer]
                noise = self._kept(kind + NOISE, layer) if self.config.noise else [None] * len(retentions)
                for unit in range(len(retentions)):
                    yield {
                        "layer": layer,
                        "unit": unit,
                        "images": kind,
                        **self._best(real, unit, "real_"),
                        **self._best(attacked, unit),
                        "kept": retentions[unit],
                        "noise_kept": noise[unit],
                        "half_kept": halves[unit],
                        "eps": self.eps[kind],
                        "tap": tap,
                    }

    def _retention_summary(self) -> Iterator[Row]:
        for layer, layers in self._layers().items():
            for kind in self.eps:
                views = {"attack": kind} | ({"noise": kind + NOISE} if self.config.noise else {})
                for change, view in views.items():
                    yield self._shares(
                        layer, kind, change, [outcome for part in layers for outcome in self._kept(view, part)]
                    )
                for change, view in views.items() if self.config.by_success else ():
                    prefix = "" if view == kind else f"{change}_"
                    for reached in CHANGES:
                        split = [outcome for part in layers for outcome in self._kept_where(view, kind, part, reached)]
                        yield self._shares(layer, kind, prefix + reached, split)
            halves = [outcome for part in layers for outcome in self._halves[part]]
            yield self._shares(layer, REAL, "split_half", halves)

    def _shares(self, layer: str, kind: str, change: str, outcomes: Sequence[Kept | None]) -> Row:
        counts = {outcome: outcomes.count(outcome) for outcome in ("concept", "category", "other", "lost")}
        n = sum(counts.values())
        row: Row = {"layer": layer, "images": kind, "change": change, "detectors": n}
        total = 0
        for column, outcome in (("same_concept", "concept"), ("same_category", "category"), ("any", "other")):
            total += counts[outcome]
            low, high = wilson_interval(total, n) if n else (None, None)
            row |= {column: total / n if n else None, f"{column}_low": low, f"{column}_high": high}
        return row | {"lost": counts["lost"] / n if n else None, "eps": self.eps.get(kind)}
