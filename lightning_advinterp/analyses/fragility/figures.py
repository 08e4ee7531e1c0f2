"""Figures of fragility: images and maps before and after, measures over ε, and the course of the attacks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.report.styles import legend_below, style
from lightning_advinterp.report.table import radius

_SHOWN = {"topk": "top-k intersection", "spearman": "Spearman's ρ", "center_shift": "centre shift (pixels)"}


def fragility_panels(result: Result, title: str = "") -> dict[str, Figure]:
    """Draw image, map, perturbed image and perturbed map, a figure per method and a row per image and attack.

    A fifth column has the map that an attack aims at, where one does.

    Args:
        result: with the table ``fragility_pictures`` and its arrays.
        title: above the figures.
    """
    figures: dict[str, Figure] = {}
    table = result.tables["fragility_pictures"]
    for method in dict.fromkeys(row["method"] for row in table):
        rows = [row for row in table if row["method"] == method]
        columns = 5 if any(row.get("target") for row in rows) else 4
        figure = Figure(figsize=(1.65 * columns, 0.5 + 1.75 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes, row in zip(grid, rows, strict=True):
            texts = ("image", method, f"{row['attack']}, ε = {radius(row['eps'])}", _told(row), "target")
            for axis, key, text in zip(axes, ("picture", "map", "moved", "moved_map", "target"), texts, strict=False):
                axis.axis("off")
                if not row.get(key):
                    continue
                values = result.arrays[row[key]]
                options = {"cmap": "magma", "vmin": 0, "vmax": 255} if values.ndim == 2 else {}
                axis.imshow(values, interpolation="nearest", **options)
                axis.set_title(text, fontsize=7)
        figure.suptitle(f"{title}: {method}", fontsize=10)
        figures[method] = figure
    return figures


def _told(row: Row) -> str:
    """Return what stands above the map after an attack."""
    if row.get("no_map"):
        return {"both": "no map", "before": "no map before", "after": "no map after"}[row["no_map"]]
    return f"top-k {row['topk']:.2f}, ρ {row['spearman']:.2f}" if row["success"] else "no iterate counts"


def _method_title(method: str, rows: Sequence[Row]) -> str:
    """Return a method's name, and of how many images at most it has no map."""
    worst = max((row for row in rows if row["method"] == method), key=lambda row: row.get("no_map") or 0)
    missing = worst.get("no_map")
    return f"{method}\nno map of up to {missing} of {worst['n']} images" if missing else method


def fragility_curves(summary: Sequence[Row], title: str = "") -> Figure:
    """Draw every measure over ε: medians, bars from the 10 to the 90 % quantile, dotted the level of another image.

    Args:
        summary: the table ``fragility_summary``.
        title: above the figure.
    """
    methods, attacks = (list(dict.fromkeys(row[key] for row in summary)) for key in ("method", "attack"))
    radii = sorted({row["eps"] for row in summary})
    size = (1.2 + (1.2 + 0.35 * len(radii)) * max(1, len(methods)), 0.6 + 2.1 * len(_SHOWN))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(_SHOWN), max(1, len(methods)), squeeze=False, sharex=True, sharey="row")
    for axes_of, (measure, name) in zip(grid, _SHOWN.items(), strict=True):
        for axes, method in zip(axes_of, methods, strict=False):
            rows_of_method = [row for row in summary if row["method"] == method and row[measure] is not None]
            for number, attack in enumerate(attacks):
                rows = sorted((row for row in rows_of_method if row["attack"] == attack), key=lambda row: row["eps"])
                offset = 0.1 * (number - (len(attacks) - 1) / 2)
                x = np.array([radii.index(row["eps"]) + offset for row in rows])
                low, middle, high = _values(rows, measure)
                drawn_as = style(number)
                options: dict[str, Any] = {"color": drawn_as.colour, "ls": drawn_as.line, "marker": drawn_as.marker}
                options |= {"ms": 4, "lw": 1.0, "capsize": 2, "elinewidth": 0.8, "label": attack}
                axes.errorbar(x, middle, [middle - low, high - middle], **options)
            level = rows_of_method[0].get(f"{measure}_other") if rows_of_method else None
            if level is not None:
                axes.axhline(level, color="#888888", lw=0.9, ls=":", label="another image's map")
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlim(-0.5, len(radii) - 0.5)
        axes_of[0].set_ylabel(name, fontsize=8)
    for axes, method in zip(grid[0], methods, strict=False):
        axes.set_title(_method_title(method, summary), fontsize=9)
    for axes in grid[-1]:
        axes.set_xticks(range(len(radii)), [radius(eps) for eps in radii], fontsize=7)
        axes.set_xlabel("ε", fontsize=8)
    entries: dict[str, Any] = {}
    for axes in grid.flat:  # the first method may have no map at all
        handles, labels = axes.get_legend_handles_labels()
        entries = dict(zip(labels, handles, strict=True)) | entries
    entry_width = 0.6 + 0.06 * max(map(len, entries), default=0)  # inches, of a handle and its text at 7 points
    columns = min(3, max(1, int(size[0] / entry_width)))
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=7
    )
    figure.suptitle(title, fontsize=10)
    return figure


def fragility_convergence(rows: Sequence[Row], title: str = "") -> Figure:
    """Draw what every attack gained step by step at its largest radius, as a share of its largest median.

    Args:
        rows: the table ``fragility_convergence``.
        title: above the figure.
    """
    attacks, methods = (list(dict.fromkeys(row[key] for row in rows)) for key in ("attack", "method"))
    figure = Figure(figsize=(1.0 + 2.6 * max(1, len(attacks)), 2.9), layout="constrained")
    grid = figure.subplots(1, max(1, len(attacks)), squeeze=False, sharey=True)
    for axes, attack in zip(grid[0], attacks, strict=False):
        for number, method in enumerate(methods):
            courses = [
                row for row in rows if (row["attack"], row["method"]) == (attack, method) and row["gain"] is not None
            ]
            courses = [row for row in courses if row["eps"] == max(row_of_course["eps"] for row_of_course in courses)]
            most = max((abs(row["gain"]) for row in courses), default=0.0)
            if most == 0:
                continue
            colour = style(number).colour
            low, middle, high = (values / most for values in _values(courses, "gain"))
            steps = [row["step"] for row in courses]
            axes.plot(steps, middle, style(number).line, lw=1.2, color=colour, label=method)
            axes.fill_between(steps, low, high, color=colour, alpha=0.12, lw=0)
        axes.set(xlabel="step", title=attack, ylim=(-1.1, 2))
        axes.title.set_fontsize(9)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel("gain / largest median gain", fontsize=8)
    legend_below(figure)
    figure.suptitle(title, fontsize=10)
    return figure


def _values(rows: Sequence[Row], name: str) -> list[NDArray[np.float64]]:
    """Return the 10 % quantiles, medians and 90 % quantiles of a column."""
    return [np.array([row[key] for row in rows], float) for key in (f"{name}_q10", name, f"{name}_q90")]
