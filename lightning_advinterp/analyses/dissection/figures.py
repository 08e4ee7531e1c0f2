"""Figures of a dissection: Table 1 of Dong et al. 2022 as bars, its course over depth, and the best units' images."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lightning_advinterp.analyses.base.unit_pictures import Pictures
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.report.panels import PanelRow, unit_panel
from lightning_advinterp.report.styles import COLOURS, style
from lightning_advinterp.report.table import SAME_IMAGES, summary_of

_ALL = "all"
_CONTROLS = {"shuffled": "x", "rotated": "+", "random": "."}


def category_bars(rows: Sequence[Row], title: str = "") -> Figure:
    """Share of units that detect a concept of each category, per kind of images, with what the controls give.

    Args:
        rows: the table ``dissection_summary``; all layers together are drawn where there are several.
        title: above the figure.
    """
    summary = summary_of(rows)
    kinds = list(dict.fromkeys(row["images"] for row in summary))
    categories = list(dict.fromkeys(row["category"] for row in summary))
    across = max(7.0, 2.5 + 0.2 * len(categories) * (len(kinds) + 1))
    figure = Figure(figsize=(across, 3.8), layout="constrained")
    axes: Axes = figure.subplots()
    width = 0.8 / max(1, len(kinds))
    for number, (kind, colour) in enumerate(_colours(kinds).items()):
        by_category = {row["category"]: row for row in summary if row["images"] == kind}
        places = np.arange(len(categories)) + (number - (len(kinds) - 1) / 2) * width
        heights = np.array([100 * by_category[category]["ratio"] for category in categories])
        spread = [[_bar(by_category[category], side) for category in categories] for side in ("low", "high")]
        axes.bar(
            places,
            heights,
            width * 0.92,
            yerr=spread,
            color=colour,
            hatch=style(number).hatch,
            edgecolor="white",
            ecolor="#222222",
            capsize=2,
            label=_kind_label(by_category, kind),
        )
    real = {row["category"]: row for row in summary if row["images"] == REAL}
    for control, marker in _CONTROLS.items():
        heights_of = [real[category].get(control) for category in categories if category in real]
        if heights_of and all(value is not None for value in heights_of):
            values = [100 * float(value) for value in heights_of if value is not None]
            # beside the bars: on dark ones they would not show
            axes.plot(
                np.arange(len(values)) - 0.45, values, marker, color="#222222", label=f"control: {control}", ls="none"
            )
    axes.set_xticks(np.arange(len(categories)), categories)
    axes.set(ylabel="units that detect a concept (%)", title=title)
    axes.set_xlabel(SAME_IMAGES, fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def _colours(kinds: Sequence[str]) -> dict[str, str]:
    """Return a colour of its own for every kind of images; of many attacks a scale, in their order."""
    names = list(dict.fromkeys(kinds))
    if len(names) <= len(COLOURS):
        return dict(zip(names, COLOURS, strict=False))
    scale = colormaps["inferno_r"](np.linspace(0.15, 0.85, len(names) - 1))
    return dict(zip(names, (COLOURS[0], *map(to_hex, scale)), strict=True))


def _bar(row: Row, side: str) -> float:
    bound = row.get(f"ratio_{side}")
    if bound is None:
        return 0.0
    length = row["ratio"] - bound if side == "low" else bound - row["ratio"]
    return max(0.0, 100 * float(length))


def _kind_label(rows: dict[str, Row], kind: str) -> str:
    row = next(iter(rows.values()))
    success = row.get("success")
    return kind if success is None else f"{kind} (success {100 * success:.0f} %)"


def depth_profile(rows: Sequence[Row], title: str = "") -> Figure:
    """Share of detectors of every layer, in the order of computation, with what the controls give.

    Args:
        rows: the table ``dissection_summary`` of several layers.
        title: above the figure.
    """
    all_categories = [row for row in rows if row["layer"] != _ALL and row["category"] == _ALL]
    layers = list(dict.fromkeys(row["layer"] for row in all_categories))
    figure = Figure(figsize=(max(6.5, 3.0 + 0.3 * len(layers)), 4.2), layout="constrained")
    axes: Axes = figure.subplots()
    for number, (kind, colour) in enumerate(_colours([row["images"] for row in all_categories]).items()):
        by_layer = {row["layer"]: row for row in all_categories if row["images"] == kind}
        values = [100 * by_layer[layer]["ratio"] for layer in layers]
        drawn_as = style(number)
        line, marker = drawn_as.line, drawn_as.marker
        axes.plot(range(len(layers)), values, line, marker=marker, ms=4, color=colour, label=kind)
    real = {row["layer"]: row for row in all_categories if row["images"] == REAL}
    for control, sign in _CONTROLS.items():
        shares = [real[layer].get(control) for layer in layers if layer in real]
        if shares and None not in shares:
            heights = [100 * float(share) for share in shares if share is not None]
            axes.plot(heights, f"{sign}:", color="#222222", lw=0.7, ms=4, label=f"control: {control}")
    axes.set_xticks(range(len(layers)), layers, rotation=90, fontsize=7)
    axes.set(ylabel="units that detect a concept (%)", title=title, ylim=(0, None))
    axes.set_xlabel(SAME_IMAGES, fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def best_units(rows: Sequence[Row], count: int) -> list[Row]:
    """Return the rows of the units with the highest IoU on real images, each concept once.

    Args:
        rows: the table ``dissection``.
        count: at most so many.
    """
    best: list[Row] = []
    labels: set[str] = set()
    for row in sorted((row for row in rows if row["images"] == REAL and row["label"]), key=lambda row: -row["iou"]):
        if row["label"] not in labels and len(best) < count:
            labels.add(row["label"])
            best.append(row)
    return best


def detector_panel(units: Sequence[Pictures], title: str) -> Figure:
    """Draw detectors' images, real ones first, then each attack's."""
    rows = []
    for unit in units:
        row = unit.row
        what = f"{row['label']}\n{row['category']}, IoU {row['iou']:.2f}" if row["label"] else "nothing"
        name = f"{row['layer']}, unit {row['unit']}" if row["images"] == REAL else row["images"]
        rows.append(PanelRow(f"{name}\n{what}", unit.pictures, unit.masks))
    return unit_panel(
        rows, f"{title}: the units with the highest IoU, a concept each; bright: above the unit's threshold"
    )
