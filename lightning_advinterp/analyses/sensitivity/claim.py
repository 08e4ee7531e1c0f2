"""The claim of Xu et al. 2019 as a table: units that detect concepts are more sensitive than others like them.

A row of ``sensitivity_test`` is a layer (or ``all`` of them), images, reading (``max`` or ``mean`` over places) and
category of concepts (or ``all``). It compares ``detectors`` of this category with units that detect nothing, in
``pairs`` matched on the reading's mean, the share of active places and its standard deviation over real images:
``sensitivity`` (mean |Δa|/sd) of the detectors beside ``matched``; ``effect`` (Cliff's δ) with its interval; one-sided
p-values ``p`` (Mann–Whitney) and ``p_permutation``, and both adjusted over the layers by Holm; ``effect_unmatched`` and
``p_unmatched`` of all units; ``imbalance``, the largest difference of the pairs' mean ranks (of 1) in what they are
matched on; ``spearman`` of sensitivity and IoU over all units and its one-sided p. ``n`` images give sensitivity, none
of which dissection has seen. Units are the cases: intervals and p-values speak of other units of such a network, on
these images.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from lightning_advinterp.analyses.sensitivity.state import HALVES, READINGS
from lightning_advinterp.analyses.sensitivity.tables import ALL, Floats, Found
from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.matched import Comparison, cliffs_delta, compare_pairs, holm, matched_pairs

_LEAST = 3
"""Fewer units of a group are no group."""


def claim_rows(findings: Found, caliper: float, seed: int) -> list[Row]:
    """Return the table ``sensitivity_test``; empty without a dissection.

    Args:
        findings: changes, and what dissection says.
        caliper: of the matching.
        seed: of resampling.
    """
    if not findings.concepts:
        return []
    rows: list[Row] = []
    for kind in findings.changes:
        for reading in range(len(READINGS)):
            units = _Units(findings, kind, reading, caliper, seed)
            for category in (ALL, *units.categories):
                rows += _adjusted(list(units.rows(category)))
    return rows


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    """Add Holm's p-values over the layers to the rows of one question, beside the row of all layers."""
    layers = [row for row in rows if row["layer"] != ALL]
    for name in ("p", "p_permutation"):
        tested = [row for row in layers if row[name] is not None]
        for row, p in zip(tested, holm([row[name] for row in tested]), strict=True):
            row[f"{name}_holm"] = p
    return list(rows)


class _Units:
    """All units, with what they are compared by, of one kind of images and one reading."""

    def __init__(self, findings: Found, kind: str, reading: int, caliper: float, seed: int) -> None:
        self.found, self.kind, self.reading, self.caliper, self.seed = findings, kind, reading, caliper, seed
        names = [(layer.name, unit) for layer in findings.layers for unit in range(layer.width)]
        concepts = [(findings.concepts or {}).get(name) for name in names]
        self.iou = np.array([np.nan if concept is None else concept.iou for concept in concepts])
        self.detects = np.array([concept is not None and concept.detects for concept in concepts])
        self.category = np.array([(concept and concept.category) or "" for concept in concepts])
        self.categories = sorted(set(self.category[self.detects].tolist()))
        # Groups of images that no dissection has seen.
        self.sensitivity = findings.sensitivity(kind, reading, HALVES)
        self.images = findings.images(kind, HALVES)
        active = np.asarray(findings.settled["active"])
        self.features = np.stack([findings.real("mean", reading), active, findings.real("deviation", reading)], axis=1)
        self.known = ~np.isnan(self.sensitivity) & ~np.isnan(self.iou)

    def rows(self, category: str) -> Iterator[Row]:
        """Yield the rows of a category: each layer's, then all layers'."""
        pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        for place, (layer, part) in enumerate(self.found.parts.items()):
            units = np.flatnonzero(self.known)
            units = units[(units >= part.start) & (units < part.stop)]
            chosen = self._chosen(units, category)
            units, chosen = units[chosen | ~self.detects[units]], chosen[chosen | ~self.detects[units]]
            first, second = matched_pairs(self.features[units], chosen, self.caliper)
            pairs.append((units[first], units[second]))
            yield self._row(layer, category, units, chosen, pairs[-1], place)
        if len(pairs) > 1:
            units = np.flatnonzero(self.known)
            chosen = self._chosen(units, category)
            units, chosen = units[chosen | ~self.detects[units]], chosen[chosen | ~self.detects[units]]
            first, second = (np.concatenate(numbers) for numbers in zip(*pairs, strict=True))
            yield self._row(ALL, category, units, chosen, (first, second), len(pairs))

    def _chosen(self, units: NDArray[np.int64], category: str) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = self.detects[units] & ((category == ALL) | (self.category[units] == category))
        return chosen

    def _row(
        self,
        layer: str,
        category: str,
        units: NDArray[np.int64],
        chosen: NDArray[np.bool_],
        pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
        place: int,
    ) -> Row:
        first, second = (self.sensitivity[numbers] for numbers in pairs)
        seed = mixed_seed(self.seed, place, self.reading, self.found.units)
        tested = compare_pairs(first, second, seed) if len(first) >= _LEAST else None
        row: Row = {"layer": layer, "images": self.kind, "reading": READINGS[self.reading], "category": category}
        row |= {"detectors": int(chosen.sum()), "others": int((~chosen).sum()), "pairs": len(first)}
        row |= _compared(tested)
        row |= {"p_holm": None, "p_permutation_holm": None}
        row |= self._unmatched(units, chosen)
        row["imbalance"] = self._imbalance(units, pairs) if len(first) else None
        row |= self._correlation(units) if category == ALL else {"spearman": None, "spearman_p": None}
        return row | {"eps": self.found.eps[self.kind], "n": self.images}

    def _unmatched(self, units: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Row:
        first, second = self.sensitivity[units[chosen]], self.sensitivity[units[~chosen]]
        if min(len(first), len(second)) < _LEAST:
            return {"effect_unmatched": None, "p_unmatched": None}
        p = scipy.stats.mannwhitneyu(first, second, alternative="greater").pvalue
        return {"effect_unmatched": float(cliffs_delta(first, second)), "p_unmatched": float(p)}

    def _imbalance(self, units: NDArray[np.int64], pairs: tuple[NDArray[np.int64], NDArray[np.int64]]) -> float:
        ranks: Floats = scipy.stats.rankdata(self.features[units], axis=0) / len(units)
        place = {unit: number for number, unit in enumerate(units.tolist())}
        first, second = (ranks[[place[unit] for unit in numbers.tolist()]].mean(0) for numbers in pairs)
        return float(np.abs(first - second).max())

    def _correlation(self, units: NDArray[np.int64]) -> Row:
        values, iou = self.sensitivity[units], self.iou[units]
        if len(units) < _LEAST or len(np.unique(values)) < 2 or len(np.unique(iou)) < 2:
            return {"spearman": None, "spearman_p": None}
        correlation = scipy.stats.spearmanr(values, iou, alternative="greater")
        return {"spearman": float(correlation.statistic), "spearman_p": float(correlation.pvalue)}


def _compared(tested: Comparison | None) -> Row:
    if tested is None:
        names = ("sensitivity", "matched", "effect", "effect_low", "effect_high", "p", "p_permutation")
        return dict.fromkeys(names)
    return {
        "sensitivity": tested.first,
        "matched": tested.second,
        "effect": tested.effect,
        "effect_low": tested.low,
        "effect_high": tested.high,
        "p": tested.p,
        "p_permutation": tested.p_permutation,
    }
