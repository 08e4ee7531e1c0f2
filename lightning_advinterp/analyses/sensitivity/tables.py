"""The tables of sensitivity.

- ``sensitivity``: ``layer, unit, images, change`` (mean a(x') − a(x), a the spatial maximum), ``change_sd`` (in
  standard deviations of a over real images), ``iou, label, category`` (dissection's, on real images), ``sensitivity``
  (mean magnitude of the change, in standard deviations), ``direction`` (``promoted``, ``suppressed`` or ``neither``, by
  a paired t-test at a false discovery rate of 5 % over the layer's units) and its adjusted ``p``; ``mean_change,
  mean_change_sd, mean_sensitivity`` of the spatial mean; ``real_mean, real_sd`` and ``active`` (share of places above
  zero) on real images; ``mode_class, eps, tap, n``.
- ``sensitivity_layers``: per layer (and ``all``) and images: ``units``, ``dead`` (with one value for all real images),
  means over units, shares promoted and suppressed.
- ``sensitivity_classes``: see :mod:`~lightning_advinterp.analyses.sensitivity.relations`; means over images of what
  their units of a relation do, with 95 % intervals (t).
- ``sensitivity_test``: see :mod:`~lightning_advinterp.analyses.sensitivity.claim`.

A unit with one value for all real images has no standard deviation: what is measured in it is missing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit
from torch import Tensor

from lightning_advinterp.analyses.sensitivity.interpretability import UnitConcept
from lightning_advinterp.analyses.sensitivity.relations import MEASURES, RELATIONS
from lightning_advinterp.analyses.sensitivity.state import GROUPS, READINGS, Changes
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.moments import Moments

ALL = "all"
_FDR = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LayerWidth:
    """A layer and its number of units.

    Attributes:
        name: what tables call it.
        tap: what was read.
        width: units.
    """

    name: str
    tap: str
    width: int


@dataclass(frozen=True)
class Found:
    """What both sweeps found.

    Attributes:
        layers: in order; units are numbered through them.
        settled: of the real images ``mean, deviation`` of both readings, ``active``, and ``mode``, int64 ``[U]``, the
            most frequent class of every unit's strongest images, −1 for none.
        changes: image kind to the units' changes.
        relations: image kind to meaning (``class``, ``concept``) to moments over images.
        eps: image kind to the attack's ε.
        concepts: layer and unit to what dissection says; None where there is no dissection.
        names: of the network's outputs; empty where units' classes were not looked at.
    """

    layers: tuple[LayerWidth, ...]
    settled: Mapping[str, Tensor]
    changes: Mapping[str, Changes]
    relations: Mapping[str, Mapping[str, Moments]]
    eps: Mapping[str, float | None]
    concepts: Mapping[tuple[str, int], UnitConcept] | None
    names: tuple[str, ...]

    @property
    def units(self) -> int:
        """Number of units."""
        return sum(layer.width for layer in self.layers)

    @cached_property
    def parts(self) -> dict[str, slice]:
        """Layer to its units' places."""
        ends = np.cumsum([0, *(layer.width for layer in self.layers)]).tolist()
        return {layer.name: slice(*ends[place : place + 2]) for place, layer in enumerate(self.layers)}

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Whether each unit has a standard deviation, bool ``[U]``."""
        return np.asarray(self.settled["deviation"][: self.units] > 0)

    def real(self, name: str, reading: int = 0) -> Floats:
        """Return ``mean`` or ``deviation`` on real images, ``[U]``; no deviation is NaN."""
        values = self.settled[name][reading * self.units : (reading + 1) * self.units]
        return np.asarray(values.masked_fill(values == 0, torch.nan) if name == "deviation" else values)

    def change(self, kind: str, reading: int = 0, groups: tuple[int, ...] = GROUPS) -> Floats:
        """Return mean signed changes, ``[U]``."""
        return self._average(kind, "signed", reading, groups)

    def sensitivity(self, kind: str, reading: int = 0, groups: tuple[int, ...] = GROUPS) -> Floats:
        """Return mean magnitudes of changes in standard deviations, ``[U]``."""
        return self._average(kind, "size", reading, groups) / self.real("deviation", reading)

    def images(self, kind: str, groups: tuple[int, ...] = GROUPS) -> int:
        """Return how many images were changed."""
        return int(self.changes[kind].of("signed", len(READINGS) * self.units, groups).count.max())

    def _average(self, kind: str, name: str, reading: int, groups: tuple[int, ...]) -> Floats:
        moments = self.changes[kind].of(name, len(READINGS) * self.units, groups)
        return np.asarray(moments.average()[reading * self.units : (reading + 1) * self.units])

    def p_values(self, kind: str) -> Floats:
        """Return two-sided p-values of paired t-tests of the change of the maximum, ``[U]``; NaN for dead units."""
        moments = self.changes[kind].of("signed", len(READINGS) * self.units)
        count = moments.count.double()
        t = (moments.average() / (moments.deviation(unbiased=True) / count.sqrt()))[: self.units]
        p = 2 * stdtr(np.maximum(count[: self.units].numpy() - 1, 1), -t.abs().numpy())
        unmoved = np.asarray((moments.average() == 0)[: self.units])
        return np.where(self.alive, np.where(unmoved, 1.0, p), np.nan)


@dataclass(frozen=True)
class Directions:
    """Which units an image kind promotes and suppresses.

    Attributes:
        p: ``[U]``, adjusted over the units of a layer (Benjamini and Hochberg 1995); NaN where there is no test.
        sign: int ``[U]``: 1 promoted, −1 suppressed, 0 neither.
    """

    p: Floats
    sign: NDArray[np.int64]


def directions(findings: Found, kind: str) -> Directions:
    """Return which units a kind of images promotes and suppresses."""
    p, adjusted = findings.p_values(kind), np.full(findings.units, np.nan)
    for part in findings.parts.values():
        tested = ~np.isnan(p[part])
        if tested.any():
            adjusted[part][tested] = scipy.stats.false_discovery_control(p[part][tested])
    moved = adjusted <= _FDR  # false for NaN
    return Directions(adjusted, np.where(moved, np.sign(findings.change(kind)), 0).astype(np.int64))


_WORDS = {1: "promoted", -1: "suppressed", 0: "neither"}


def unit_rows(findings: Found) -> Iterator[Row]:
    """Yield the table ``sensitivity``."""
    deviation, mean_deviation = (findings.real("deviation", reading) for reading in (0, 1))
    real_mean, active = findings.real("mean"), np.asarray(findings.settled["active"])
    for kind in findings.changes:
        moved, images = directions(findings, kind), findings.images(kind)
        change, mean_change = (findings.change(kind, reading) for reading in (0, 1))
        size, mean_size = (findings.sensitivity(kind, reading) for reading in (0, 1))
        for layer in findings.layers:
            for unit, place in enumerate(range(findings.units)[findings.parts[layer.name]]):
                tested = moved.p[place] == moved.p[place]
                concept = None if findings.concepts is None else findings.concepts.get((layer.name, unit))
                yield {
                    "layer": layer.name,
                    "unit": unit,
                    "images": kind,
                    "change": float(change[place]),
                    "change_sd": float(change[place] / deviation[place]),
                    "iou": None if concept is None else concept.iou,
                    "label": None if concept is None else concept.label,
                    "category": None if concept is None else concept.category,
                    "sensitivity": float(size[place]),
                    "direction": _WORDS[int(moved.sign[place])] if tested else None,
                    "p": float(moved.p[place]),
                    "mean_change": float(mean_change[place]),
                    "mean_change_sd": float(mean_change[place] / mean_deviation[place]),
                    "mean_sensitivity": float(mean_size[place]),
                    "real_mean": float(real_mean[place]),
                    "real_sd": float(deviation[place]),
                    "active": float(active[place]),
                    **_mode(findings, place),
                    "eps": findings.eps[kind],
                    "tap": layer.tap,
                    "n": images,
                }


def _mode(findings: Found, place: int) -> Row:
    if "mode" not in findings.settled:
        return {}
    mode = int(findings.settled["mode"][place])
    return {"mode_class": None if mode < 0 else findings.names[mode]}


def layer_rows(findings: Found) -> Iterator[Row]:
    """Yield the table ``sensitivity_layers``."""
    parts = findings.parts | ({ALL: slice(None)} if len(findings.layers) > 1 else {})
    for layer, part in parts.items():
        alive = findings.alive[part]
        for kind in findings.changes:
            moved = directions(findings, kind).sign[part][alive]
            change = (findings.change(kind) / findings.real("deviation"))[part][alive]
            size = findings.sensitivity(kind)[part][alive]
            yield {
                "layer": layer,
                "images": kind,
                "units": len(alive),
                "dead": int((~alive).sum()),
                "change_sd": _mean(change),
                "sensitivity": _mean(size),
                "sensitivity_median": float(np.median(size)) if len(size) else None,
                "promoted": _mean(moved > 0),
                "suppressed": _mean(moved < 0),
                "eps": findings.eps[kind],
                "n": findings.images(kind),
            }


def _mean(values: NDArray[np.generic]) -> float | None:
    return float(values.mean()) if len(values) else None


def class_rows(findings: Found) -> Iterator[Row]:
    """Yield the table ``sensitivity_classes``."""
    shape = (len(MEASURES), len(findings.layers), len(RELATIONS))
    for kind, meanings in findings.relations.items():
        for meaning, moments in meanings.items():
            mean, deviation = (values.view(shape) for values in (moments.average(), moments.deviation(unbiased=True)))
            count = moments.count.view(shape)
            for place, layer in enumerate(findings.layers):
                for number, relation in enumerate(RELATIONS):
                    change, rising, units = mean[:, place, number].tolist()
                    n = int(count[0, place, number])
                    wide = float(stdtrit(n - 1, 0.975)) if n > 1 else float("nan")
                    spread = float(deviation[0, place, number]) * wide / max(1, n) ** 0.5
                    yield {
                        "layer": layer.name,
                        "images": kind,
                        "meaning": meaning,
                        "near": relation,
                        "change_sd": change,
                        "change_sd_low": change - spread,
                        "change_sd_high": change + spread,
                        "rising": rising,
                        "units": units,
                        "eps": findings.eps[kind],
                        "n": n,
                    }
