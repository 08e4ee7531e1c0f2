"""Figures of semantics and distances: Fig. 10 of Dong et al. 2022, its course over depth, and reference levels."""

from collections.abc import Sequence
from itertools import cycle, product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.report.styles import BLACK, BLUE, COLOURS, VERMILLION

_CS1, _CS2, _LC = BLUE, VERMILLION, BLACK
_CHANCE_LINES: dict[str, Any] = {"lc": ":", "cs1": (0, (1, 3)), "cs2": "-."}
"""Lines of chance, which lie near each other: in grey print their strokes alone tell them apart."""
_MARKERS = {"cs1": "o", "cs2": "s", "lc": "^"}
_SMOOTH = {"cs1": "-", "cs2": "--"}
_STYLES = tuple(product(("-", "--", ":"), COLOURS))
_ACROSS = 3
"""Panels beside each other: more would be too small to read on a page."""


def _kinds(rows: Sequence[Row]) -> list[str]:
    return [kind for kind in dict.fromkeys(row["images"] for row in rows) if kind != REAL]


def images_told(row: Row) -> str:
    """Return what the images allow to be read, from a row of any table with the levels."""
    text = f"{row['images_per_class']:.3g} images per class, {row['kept']} top images"
    return text if row["readable"] else f"{text}\n(too few images per class to read)"


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels (at least one) of a size in inches, and room for a legend at its right."""
    across, down = min(_ACROSS, max(1, count)), -(-max(1, count) // _ACROSS)
    figure = Figure(figsize=(width * across + 1.0, height * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for unused in panels[max(1, count) :]:
        unused.remove()
    return figure, panels[: max(1, count)]


def _legend(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, where it covers none."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=7)


def _complete(figure: Figure, panels: Sequence[Axes], quantity: str, title: str, fontsize: float = 10) -> Figure:
    """Name the vertical axis of each row of panels, and the figure."""
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[::_ACROSS]:
        axes.set_ylabel(quantity, fontsize=fontsize)
    figure.suptitle(title, fontsize=10)
    return figure


def _over_layers(axes: Axes, layers: Sequence[str], heading: str) -> None:
    """Name the layers below a panel, in order of computation."""
    axes.set_xticks(range(len(layers)), layers, rotation=90, fontsize=7)
    axes.set_title(heading, fontsize=8)
    axes.set_ylim(-0.02, 1.02)


def _chance(axes: Axes, row: Row, names: Sequence[str]) -> None:
    """Draw lines at what random rankings give; of CS for an attack's images alone."""
    for name in names:
        if row[f"chance_{name}"] is not None:
            colour = {"lc": _LC, "cs1": _CS1, "cs2": _CS2}[name]
            label = f"chance {name.upper()}"
            axes.axhline(row[f"chance_{name}"], color=colour, lw=0.8, ls=_CHANCE_LINES[name], label=label)


def curve(smooth: Sequence[Row], binned: Sequence[Row], title: str = "") -> Figure:
    """CS1 and CS2 against LC: bins with their intervals, a kernel smoother, floor and chance; a panel per attack.

    Args:
        smooth: the table ``semantics_smooth``.
        binned: the table ``semantics_curve``.
        title: above the figure.
    """
    kinds = _kinds(binned)
    figure, panels = _panels(len(kinds), 4.6, 4.0)
    for axes, kind in zip(panels, kinds, strict=False):
        bins = [row for row in binned if row["images"] == kind and row["cs1"] == row["cs1"] and row["cs1"] is not None]
        line = [row for row in smooth if row["images"] == kind and row["cs1"] is not None]
        for name, colour, marker in (("cs1", _CS1, "o"), ("cs2", _CS2, "s")):
            if line:
                axes.plot([row["lc"] for row in line], [row[name] for row in line], _SMOOTH[name], color=colour, lw=1.5)
            centres = [(row["lc_low"] + row["lc_high"]) / 2 for row in bins]
            means = np.array([row[name] for row in bins])
            bounds = [[row[name] - row[f"{name}_low"], row[f"{name}_high"] - row[name]] for row in bins]
            spread = np.array(bounds).T.clip(0) if bins else None
            axes.errorbar(centres, means, spread, fmt=marker, ms=4, color=colour, capsize=2, label=name.upper())
        levels = next(row for row in binned if row["images"] == kind)
        _chance(axes, levels, ("cs1", "cs2"))
        axes.axvline(levels["floor"], color=_LC, lw=0.8, ls="--", label="floor of LC")
        axes.axvline(levels["chance_lc"], color=_LC, lw=0.8, ls=":", label="chance LC")
        axes.set(xlabel="LC", title=f"{kind}\n{images_told(levels)}", ylim=(-0.02, 1.02), xlim=(0, 1))
        axes.title.set_fontsize(8)
    _legend(figure, panels[0])
    return _complete(figure, panels, "CS1, CS2", title)


def depth(rows: Sequence[Row], title: str = "") -> Figure:
    """LC, CS1 and CS2 of every layer in order of computation, with intervals, floor and chance; a panel per attack.

    Args:
        rows: the table ``semantics_layers``.
        title: above the figure.
    """
    kinds = _kinds(rows) or [REAL]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    figure, panels = _panels(len(kinds), max(3.4, 1.2 + 0.17 * len(layers)), 4.4)
    real = {row["layer"]: row for row in rows if row["images"] == REAL}
    for axes, kind in zip(panels, kinds, strict=True):
        by_layer = {row["layer"]: row for row in rows if row["images"] == kind}
        _line(axes, [real[layer] for layer in layers], "lc", _LC)
        if kind != REAL:
            _line(axes, [by_layer[layer] for layer in layers], "cs1", _CS1)
            _line(axes, [by_layer[layer] for layer in layers], "cs2", _CS2)
        levels = by_layer[layers[0]]
        _chance(axes, levels, ("lc", "cs1", "cs2"))
        axes.axhline(levels["floor"], color=_LC, lw=0.8, ls="--", label="floor of LC")
        _over_layers(axes, layers, f"{kind}\n{images_told(levels)}")
    _legend(figure, panels[0])
    return _complete(figure, panels, "mean over units", title)


def _line(axes: Axes, rows: Sequence[Row], name: str, colour: str, line: str = "-", label: str | None = None) -> None:
    places = range(len(rows))
    means = [np.nan if row[name] is None else row[name] for row in rows]
    low, high = (
        [np.nan if row[f"{name}_{side}"] is None else row[f"{name}_{side}"] for row in rows] for side in ("low", "high")
    )
    axes.plot(places, means, line, marker=_MARKERS[name], ms=4, color=colour, label=label or name.upper())
    axes.fill_between(places, low, high, color=colour, alpha=0.2, lw=0)


def by_success(rows: Sequence[Row], title: str = "") -> Figure:
    """CS1 and CS2 over depth, of the images on which an attack succeeds and fails, with chance; a panel per attack.

    Args:
        rows: the table ``semantics_success``.
        title: above the figure.
    """
    kinds = _kinds(rows)
    layers = [layer for layer in dict.fromkeys(row["layer"] for row in rows) if layer != "all"]
    figure, panels = _panels(len(kinds), max(3.4, 1.2 + 0.17 * len(layers)), 4.4)
    for axes, kind in zip(panels, kinds, strict=False):
        lines = []
        for change, style in (("success", "-"), ("failure", "--")):
            by_layer = {row["layer"]: row for row in rows if (row["images"], row["change"]) == (kind, change)}
            if not by_layer:
                continue
            layer_rows = [by_layer[layer] for layer in layers]
            lines.append(f"{change}: n = {layer_rows[0]['n']}, {images_told(layer_rows[0])}")
            for name, colour in (("cs1", _CS1), ("cs2", _CS2)):
                if layer_rows[0][f"chance_{name}"] is not None:
                    _line(axes, layer_rows, name, colour, style, f"{name.upper()}, {change}")
                    axes.axhline(
                        layer_rows[0][f"chance_{name}"], color=colour, lw=0.8, ls="-." if change == "failure" else ":"
                    )
        _over_layers(axes, layers, "\n".join([kind, *lines]))
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=7)
    quantity = "mean over units (chance: dotted of successes, dash-dotted of failures)"
    return _complete(figure, panels, quantity, title, fontsize=7)


def scatter(rows: Sequence[Row], levels: Sequence[Row], title: str = "") -> Figure:
    """CS1 against CS2, a dot per unit, coloured by LC, with chance; the paper says that both are never high.

    Args:
        rows: the table ``semantics``.
        levels: the table ``semantics_levels``.
        title: above the figure.
    """
    kinds = _kinds(rows)
    figure, panels = _panels(len(kinds), 4.2, 3.8)
    dots = None
    for axes, kind in zip(panels, kinds, strict=False):
        kind_rows = [
            row for row in rows if row["images"] == kind and row["cs1"] is not None and row["cs1"] == row["cs1"]
        ]
        x, y, colour = ([row[name] for row in kind_rows] for name in ("cs1", "cs2", "lc"))
        dots = axes.scatter(x, y, c=colour, s=5, cmap="viridis", vmin=0, vmax=1)
        level_row = next(row for row in levels if row["images"] == kind)
        axes.axvline(level_row["chance_cs1"], color=_CS1, lw=0.8, ls=_CHANCE_LINES["cs1"], label="chance CS1")
        axes.axhline(level_row["chance_cs2"], color=_CS2, lw=0.8, ls=_CHANCE_LINES["cs2"], label="chance CS2")
        axes.set(xlabel="CS1", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        lc = f"LC: floor {level_row['floor']:.2f}, chance {level_row['chance_lc']:.2f}"
        axes.set_title(f"{kind}\n{images_told(level_row)}\n{lc}", fontsize=8)
    _legend(figure, panels[0])
    if dots is not None:
        figure.colorbar(dots, ax=panels, label="LC")
    return _complete(figure, panels, "CS2", title)


def ratio_histogram(bars: Sequence[Row], summary: Sequence[Row], title: str = "") -> Figure:
    """Distance ratios of all images, a panel per ratio, attacks over each other, thin lines at their medians.

    Args:
        bars: the table ``distances_histogram``.
        summary: the table ``distances``.
        title: above the figure.
    """
    ratios = list(dict.fromkeys(row["ratio"] for row in summary))
    figure = Figure(figsize=(3.4 * max(1, len(ratios)), 3.2 + 0.14 * len(_kinds(summary))), layout="constrained")
    grid = figure.subplots(1, max(1, len(ratios)), squeeze=False)
    for axes, ratio in zip(grid[0], ratios, strict=False):
        for kind, (style, colour) in zip(_kinds(summary), cycle(_STYLES), strict=False):
            kind_bars = [
                row for row in bars if (row["images"], row["ratio"]) == (kind, ratio) and np.isfinite(row["high"])
            ]
            (totals,) = (row for row in summary if (row["images"], row["ratio"]) == (kind, ratio))
            label = f"{kind}: no image"
            if totals["n"]:
                label = f"{kind}: median {totals['median']:.2f}, above 1: {100 * totals['share_above_one']:.0f} %"
                axes.axvline(totals["median"], color=colour, lw=0.5, ls=style)
            edges = [kind_bars[0]["low"], *(row["high"] for row in kind_bars)]
            axes.stairs([row["n"] for row in kind_bars], edges, color=colour, ls=style, label=label)
        axes.axvline(1, color="#222222", lw=0.6)
        axes.set(xlabel=ratio)
        axes.legend(frameon=False, fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.18))
        axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel("images")
    if summary:
        title += f"\n{summary[0]['images_per_class']:.3g} images per class"
    figure.suptitle(title, fontsize=10)
    return figure
