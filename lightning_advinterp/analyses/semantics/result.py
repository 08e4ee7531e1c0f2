"""Tables and scalars of the semantics analysis, from each kind's top images."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_advinterp.analyses.semantics.units import KindSeen, Layers, measure_units
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.metrics.following import follows
from lightning_advinterp.metrics.sample import ImageSample
from lightning_advinterp.metrics.semantics import Chance, ClassSpace, chance_level
from lightning_advinterp.metrics.semantics_curve import (
    Binning,
    bin_edges,
    binned_curve,
    bootstrap_means,
    smooth_curve,
    spearman_within,
)
from lightning_advinterp.units.top_images import kept_count

Values = NDArray[np.float64]
Columns = Mapping[str, Values]

_LAYER_COLUMNS = ("lc", "cs1", "cs2", "cs_halves", "cs1_cross", "cs2_cross", "content_auc", "prediction_auc")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """What all kinds share.

    Attributes:
        classes: the class space.
        share: of the images that count as top images.
        seed: of chance level and bootstrap.
        layers: which units there are.
        true: int64 ``[K]``, images of each true class.
        images: number of images seen, those of other classes included.
        bins: of LC in the curve.
        binning: of equal width, of equal numbers of units, or along the axis of Dong et al. 2017.
    """

    classes: ClassSpace
    share: float
    seed: int
    layers: Layers
    true: Tensor
    images: int
    bins: int = 20
    binning: Binning = "equal"

    @property
    def kept(self) -> int:
        """Number of top images per unit."""
        return kept_count(self.share, self.images)

    @property
    def images_per_class(self) -> float:
        """Mean number of images of a class that has any."""
        return int(self.true.sum()) / max(int((self.true > 0).sum()), 1)

    @property
    def readable(self) -> bool:
        """Whether LC can tell units apart: enough top images, and a unit of one class could have them all of it."""
        return 10 <= self.kept <= self.images_per_class


def build_result(name: str, setting: Setting, by_kind: Mapping[str, KindSeen], sample: ImageSample) -> Result:
    """Return tables and scalars; see :class:`~lightning_advinterp.analyses.semantics.analysis.SemanticsAnalysis`."""
    if not setting.readable:
        logger.warning(
            "semantics: %d images, %.3g per class, give %d top images per unit: too few to read LC between its floor "
            "of %.3g and 1; take more images per class, or a larger share than %g.",
            setting.images,
            setting.images_per_class,
            setting.kept,
            1 / setting.kept,
            setting.share,
        )
    parts = ("", "_curve", "_smooth", "_layers", "_levels", "_success")
    tables: dict[str, list[Row]] = {f"semantics{part}": [] for part in parts}
    scalars: dict[str, float] = {}
    real = by_kind[REAL]
    for number, (kind, top_images) in enumerate(by_kind.items()):
        chance = chance_level(
            setting.true, top_images.targets, setting.kept, setting.classes.similarity, seed=setting.seed
        )
        level_row = levels(setting, top_images, chance)
        columns, modal = measure_units(setting.classes, setting.layers, real, None if kind == REAL else top_images)
        columns |= _following(modal, kind, sample)
        first = {"images": kind, "eps": top_images.eps}
        tables["semantics"] += _unit_rows(setting, modal, columns, first, level_row)
        tables["semantics_layers"] += _layer_rows(setting, columns, first, level_row)
        summary: Row = {}
        if kind != REAL:
            tables["semantics_curve"] += _curve_rows(setting, columns, first, level_row)
            tables["semantics_smooth"] += _smooth_rows(setting, columns, first, level_row)
            summary = _correlations(setting, columns)
        tables["semantics_levels"].append({"images": kind, "eps": top_images.eps} | level_row | summary)
        prefix = "semantics" if number <= 1 else f"semantics/{kind}"
        scalars |= _scalars(prefix, setting, columns, kind, summary | level_row)
    return Result(name, scalars=scalars, tables=tables)


def levels(setting: Setting, top_images: KindSeen, chance: Chance) -> Row:
    """Return what the measures are to be compared with."""
    return {
        "n": setting.images,
        "kept": setting.kept,
        "images_per_class": setting.images_per_class,
        "floor": 1 / setting.kept,
        "chance_lc": chance.lc,
        "chance_cs1": None if top_images.targets is None else chance.cs1,
        "chance_cs2": None if top_images.targets is None else chance.cs2,
        "target_mass": top_images.mass,
        "readable": setting.readable,
    }


def _following(modal: NDArray[np.int64], kind: str, sample: ImageSample) -> dict[str, Values]:
    """Content and prediction AUC; nothing for real images."""
    if kind == REAL:
        return {}
    _, fields = sample.fields()
    values = {name: field.numpy() for name, field in fields.items()}
    inside = values["true"] >= 0
    scores = follows(
        values[REAL][inside],
        values[kind][inside],
        values["true"][inside],
        values[f"target/{kind}"][inside],
        modal,
    )
    return {"content_auc": scores.content, "prediction_auc": scores.prediction}


def _unit_rows(setting: Setting, modal: NDArray[np.int64], columns: Columns, first: Row, levels: Row) -> list[Row]:
    rows: list[Row] = []
    lists = {name: values.tolist() for name, values in columns.items()}
    keys = ("floor", "chance_lc", "chance_cs1", "chance_cs2", "images_per_class", "kept", "readable")
    shown = {key: levels[key] for key in keys}
    place = 0
    for layer in setting.layers.units:
        for unit in range(layer.width):
            mode = int(modal[place])
            row = {"layer": layer.name, "unit": unit, "images": first["images"]}
            row |= {name: lists[name][place] if name in lists else None for name in ("lc", "cs1", "cs2")}
            row["mode_class"] = setting.classes.names[mode] if mode >= 0 else None
            row |= {"mode_index": setting.classes.members[mode] if mode >= 0 else None, "eps": first["eps"]}
            row |= {"tap": layer.tap, "signed": layer.signed, "dead": mode < 0}
            row |= {name: values[place] for name, values in lists.items() if name not in ("lc", "cs1", "cs2")}
            rows.append(row | shown)
            place += 1
    return rows


def means(columns: Columns, members: NDArray[np.bool_], names: Sequence[str], seed: int) -> Row:
    """Return the means of some columns over some units with their intervals, and how many of the units are dead.

    Args:
        columns: name to float64 ``[U]``; NaN where a unit is dead.
        members: bool ``[U]``, the units.
        names: of the columns that are wanted; those that are absent have no mean.
        seed: of the bootstrap.
    """
    row: Row = {"dead": int(np.isnan(columns["lc"][members]).sum())}
    there = [name for name in names if name in columns]
    intervals = dict(zip(there, bootstrap_means([columns[name][members] for name in there], seed=seed), strict=True))
    for name in names:
        mean, low, high = intervals.get(name, (None, None, None))
        row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return row


def _layer_rows(setting: Setting, columns: Columns, first: Row, levels: Row) -> list[Row]:
    rows: list[Row] = []
    number = setting.layers.number()
    for place, layer in enumerate(setting.layers.units):
        row: Row = {"layer": layer.name, **first, "tap": layer.tap, "units": layer.width}
        rows.append(row | means(columns, number == place, _LAYER_COLUMNS, setting.seed) | levels)
    return rows


def _curve_rows(setting: Setting, columns: Columns, first: Row, levels: Row) -> list[Row]:
    edges = bin_edges(columns["lc"], setting.bins, setting.binning)
    curves = {name: binned_curve(columns["lc"], columns[name], edges, seed=setting.seed) for name in ("cs1", "cs2")}
    rows: list[Row] = []
    for cs1, cs2 in zip(curves["cs1"], curves["cs2"], strict=True):
        row: Row = {"images": first["images"], "lc_low": cs1.low, "lc_high": cs1.high, "units": int(cs1.units)}
        row |= {"cs1": cs1.mean, "cs2": cs2.mean, "cs1_low": cs1.mean_low, "cs1_high": cs1.mean_high}
        row |= {"cs2_low": cs2.mean_low, "cs2_high": cs2.mean_high, "eps": first["eps"]}
        rows.append(row | levels)
    return rows


def _smooth_rows(setting: Setting, columns: Columns, first: Row, levels: Row) -> list[Row]:
    curves = {name: smooth_curve(columns["lc"], columns[name], seed=setting.seed) for name in ("cs1", "cs2")}
    rows: list[Row] = []
    for cs1, cs2 in zip(curves["cs1"], curves["cs2"], strict=True):
        row: Row = {"images": first["images"], "lc": cs1.low, "units": cs1.units, "cs1": cs1.mean, "cs2": cs2.mean}
        row |= {"cs1_low": cs1.mean_low, "cs1_high": cs1.mean_high, "cs2_low": cs2.mean_low, "cs2_high": cs2.mean_high}
        rows.append(row | {"eps": first["eps"]} | levels)
    return rows


def _correlations(setting: Setting, columns: Columns) -> Row:
    """Rank correlations with LC within layers: on the same images, and with LC from one half and CS from the other."""
    row: Row = {}
    number = setting.layers.number()
    for name in ("cs1", "cs2"):
        for lc, cs, suffix in (("lc", name, ""), ("lc_half", f"{name}_half", "_halves")):
            correlation = spearman_within(number, columns[lc], columns[cs], seed=setting.seed)
            key = f"spearman_{name}_lc{suffix}"
            row |= {key: correlation.rho, f"{key}_p": correlation.p_value}
    return row


def _scalars(
    prefix: str, setting: Setting, columns: Columns, kind: str, summary: Mapping[str, Any]
) -> dict[str, float]:
    """Means per layer and over all units; LC from the real images, the rest from an attack's."""
    number = setting.layers.number()
    groups = {"all": np.ones(len(number), dtype=bool)}
    groups |= {layer.name: number == place for place, layer in enumerate(setting.layers.units)}
    names = ("lc", "cs_halves") if kind == REAL else ("cs1", "cs2", "content_auc", "prediction_auc")
    scalars = {}
    for group, members in groups.items():
        for name in names if group == "all" else names[: 1 if kind == REAL else 2]:
            values = columns[name][members]
            scalars[f"{prefix}/{group}/{name}"] = (
                float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
            )
    level_names = ("floor", "chance_lc") if kind == REAL else ("chance_cs1", "chance_cs2", "target_mass")
    correlations = [key for key in summary if key.startswith("spearman")]
    scalars |= {f"{prefix}/all/{key}": float(summary[key]) for key in (*level_names, *correlations)}
    if kind == REAL:
        scalars[f"{prefix}/all/dead"] = float(np.isnan(columns["lc"]).mean())
    return scalars
