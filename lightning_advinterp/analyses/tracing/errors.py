"""Why the network errs: what the units that made an error mean, and whether the error goes with them.

``tracing_errors``, a row per image with a label and image kind: ``image, images, label, predicted, right, role``
(``chosen``, or ``matched``: an image that the network gets right and is as sure of as of an error; of files that the
user names all are chosen), ``confidence``, ``support`` (semantic support of the prediction), ``near`` (by weight, which
share of the named units has a modal class at most two WordNet edges from the prediction, or detects a concept as near
or above it), ``near_true`` (from the true class), ``named`` (how many units speak for the prediction, up to
``tracing.together``), then what the network says without them, ``named_predicted, named_flips`` (it is then right, of
errors), ``named_changes``, and the same without as many ``control`` units, drawn at random from those of about the same
activation; both ``…_activation`` are means.

``tracing_summary``, a row per image kind and group, ``wrong`` or ``right``: ``n``, mean ``support``, the share of
predictions most of whose named units, by weight, mean the predicted class or one near it, and ``…_flips`` and
``…_changes`` of named and control units as shares of ``compared`` images; intervals are 95 %, Wilson's for shares and
bootstrap for means. ``recall`` is the mean over images and classes of what a screening keeps of the strongest units.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lightning_advinterp.analyses.tracing.control import positive_weights
from lightning_advinterp.analyses.tracing.images import TracedImages
from lightning_advinterp.analyses.tracing.tables import Traces
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.metrics.semantics_curve import bootstrap_mean
from lightning_advinterp.metrics.support import semantic_support

_MOST = 0.5
"""A prediction rests on units of its meaning where these have at least so much of the named units' weight."""
_REMOVED = ("named", "control")


def error_rows(traces: Traces) -> list[Row]:
    """Return the table ``tracing_errors``."""
    rows: list[Row] = []
    for images, number, image in traces.each():
        label = images.labels[number]
        if label < 0:
            continue
        role = "matched" if images is traces.data and number in traces.matched else "chosen"
        for kind in traces.kinds:
            traced = images.found[number][kind]
            row = traces.head(image, kind) | {"label": traces.names.of(label)}
            row |= {"predicted": traces.names.of(traced["predicted"]), "right": traced["predicted"] == label}
            row |= {
                "role": role,
                "confidence": traced["confidence"],
                "support": support_of(traces, images, number, kind),
            }
            rows.append(row | _nearness(traces, images, number, kind, label) | _removed(traced, label, traces))
            rows[-1]["eps"] = traces.eps(kind)
    return rows


def support_of(traces: Traces, images: TracedImages, number: int, kind: str) -> float | None:
    """Return the semantic support of a prediction; None where units have no meaning."""
    near, traced = traces.knowledge.near.get(traces.layers[-1].layer), images.found[number][kind]
    if near is None or traces.names.space is None or "differences" not in traced:
        return None
    predicted = traces.names.space.local(torch.tensor([traced["predicted"]]))
    value = float(semantic_support(traced["differences"][None], near.double(), predicted, traces.config.support))
    return None if value != value else value


def _named(traced: Any) -> tuple[list[int], Row | None]:
    """Return the units that speak most for the prediction, and what the network says without all of them."""
    rows = [row for row in traced["removed"] if row["class"] == "predicted" and row["which"] == "named"]
    units = [int(unit) for unit in rows[-1]["units"].split()] if rows else []
    return units, rows[-1] if rows else None


def _nearness(traces: Traces, images: TracedImages, number: int, kind: str, label: int) -> Row:
    traced, layer = images.found[number][kind], traces.layers[-1].layer
    units, _ = _named(traced)
    row: Row = {"near": None, "near_true": None}
    if not units or layer not in traces.knowledge.units:
        return row
    weights = positive_weights(traced["differences"], units).tolist()
    for name, target in (("near", traced["predicted"]), ("near_true", label)):
        row[name] = 0.0
        for unit, weight in zip(units, weights, strict=True):
            row[name] += weight * traces.names.near(traces.described(layer, unit), target)
    return row


def _removed(traced: Any, label: int, traces: Traces) -> Row:
    units, named = _named(traced)
    control = next((row for row in traced["removed"] if (row["class"], row["which"]) == ("predicted", "control")), None)
    row: Row = {"named": len(units)}
    for which, removed in zip(_REMOVED, (named, control), strict=True):
        columns = (f"{which}_activation", f"{which}_predicted", f"{which}_flips", f"{which}_changes")
        row |= dict.fromkeys(columns)
        if removed is None:
            continue
        changes, wrong = removed["predicted"] != traced["predicted"], traced["predicted"] != label
        flips = removed["predicted"] == label if wrong else None
        predicted = traces.names.of(removed["predicted"])
        row |= dict(zip(columns, (removed["mean_activation"], predicted, flips, changes), strict=True))
    return row


def summary_rows(rows: Sequence[Row], traces: Traces) -> list[Row]:
    """Return the table ``tracing_summary``.

    Args:
        rows: the table ``tracing_errors``.
        traces: with the screening's recalls.
    """
    summary: list[Row] = []
    recalls = [
        value for images, number, _ in traces.each() for value in images.found[number][traces.kinds[0]]["recall"]
    ]
    recall = sum(recalls) / len(recalls) if recalls else None
    for kind in traces.kinds:
        for group in ("wrong", "right"):
            members = [row for row in rows if row["images"] == kind and row["right"] == (group == "right")]
            row: Row = {"images": kind, "group": group, "n": len(members)} | _mean("support", members)
            near = [row["near"] >= _MOST for row in members if row["near"] is not None]
            true = [row["near_true"] >= _MOST for row in members if row["near_true"] is not None]
            row |= _share("near", near) | _share("near_true", true)
            # Both are asked of the same images: a difference is one of the units, not of the images.
            compared = [row for row in members if all(row[f"{which}_changes"] is not None for which in _REMOVED)]
            row["compared"] = len(compared)
            for which in _REMOVED:
                values = [row[f"{which}_flips"] for row in compared if row[f"{which}_flips"] is not None]
                row |= _share(f"{which}_flips", values)
                row |= _share(f"{which}_changes", [row[f"{which}_changes"] for row in compared])
                activations = [row[f"{which}_activation"] for row in compared]
                row[f"{which}_activation"] = sum(activations) / len(activations) if activations else None
            summary.append(row | {"recall": recall, "eps": traces.eps(kind)})
    return summary


def _share(name: str, values: Sequence[bool]) -> Row:
    if not values:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    low, high = wilson_interval(sum(values), len(values))
    return {name: sum(values) / len(values), f"{name}_low": low, f"{name}_high": high}


def _mean(name: str, rows: Sequence[Row]) -> Row:
    values = [row[name] for row in rows if row[name] is not None]
    if not values:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    mean, low, high = bootstrap_mean(np.array(values))
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def summary_scalars(summary: Sequence[Row]) -> dict[str, float]:
    """Return what is logged: support of right and wrong predictions, and the counterfactual rates of errors."""
    scalars: dict[str, float] = {}
    for row in summary:
        prefix = "tracing" if row["images"] == "real" else f"tracing/{row['images']}"
        values = {f"support_{row['group']}": row["support"], f"near_{row['group']}": row["near"]}
        if row["group"] == "wrong":
            values |= {"counterfactual": row["named_flips"], "counterfactual_control": row["control_flips"]}
        scalars |= {f"{prefix}/{name}": float(value) for name, value in values.items() if value is not None}
    return scalars
