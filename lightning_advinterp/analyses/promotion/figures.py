"""Figures of promotion: shares and their agreement, interpretability scores, maps of a few images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from lightning_advinterp.analyses.promotion.brief import SHORT, form_rows
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.metrics.promotion import EFFECTS, LOGITS, TYPES
from lightning_advinterp.report.styles import BLUE, ORANGE, SKY, VERMILLION
from lightning_advinterp.report.table import percent

COLOURS = {
    "suppression": BLUE,
    "balanced": "#cfc6b0",
    "promotion": VERMILLION,
    "inert": "#8c8c8c",
    "inactive": "#ffffff",
}
_HATCHES = {"suppression": "////", "balanced": "", "promotion": "....", "inert": "xxxx", "inactive": ""}
_LINES = {("real", "true"): BLUE, ("real", "target"): VERMILLION}
_LINES |= {("adversarial", "true"): SKY, ("adversarial", "target"): ORANGE}
_MARKERS = dict(zip(_LINES, ("o", "s", "^", "D"), strict=True))


def promotion_figures(result: Result, title: str) -> dict[str, Figure]:
    """Return all figures by name; none where no attack has any image."""
    tables = result.tables
    figures: dict[str, Figure] = {}
    if tables["promotion_agreement"]:
        figures["promotion"] = share_bars(result, title)
        figures["promotion_agreement"] = agreement_grids(tables["promotion_agreement"], title)
    if tables["promotion_is_summary"]:
        figures["promotion_is"] = score_curves(tables["promotion_is_summary"], title)
    for kind in dict.fromkeys(row["images"] for row in tables["promotion_pictures"]):
        rows = [row for row in tables["promotion_pictures"] if row["images"] == kind]
        figures[f"promotion_{kind}"] = cell_panels(rows, result, f"{title}: {kind}")
    return figures


def share_bars(result: Result, title: str = "") -> Figure:
    """Draw the shares of all types under every form, the upper bar by count, the thin one below it by ‖δ‖.

    Args:
        result: with the tables ``promotion_summary`` and ``promotion_agreement``.
        title: above the figure.
    """
    forms = form_rows(result.tables)
    kinds = list(dict.fromkeys(row["images"] for row in forms))
    figure = Figure(figsize=(2.0 + 3.2 * len(kinds), 4.4), layout="constrained")
    grid = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(grid, kinds, strict=True):
        rows = [row for row in forms if row["images"] == kind]
        for place, row in enumerate(rows):
            _stack(axes, [row[name] for name in TYPES], place - 0.1, 0.52)
            _stack(axes, [row[f"{name}_by_l2"] for name in TYPES], place + 0.28, 0.16)
            axes.plot(
                np.nan if row["counter"] is None else row["counter"],
                place - 0.1,
                marker="|",
                color="black",
                ms=12,
                mew=1.5,
            )
        agreement = next(
            row for row in result.tables["promotion_agreement"] if (row["images"], row["effect"]) == (kind, "all")
        )
        subtitle = f"{percent(agreement['agreement'])} % of cells alike under all"
        axes.set(xlim=(0, 1), xlabel="share of cells", title=f"{kind}\n{subtitle}")
        axes.title.set_fontsize(8)
        axes.set_yticks(range(len(rows)), [row["form"] for row in rows], fontsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].invert_yaxis()
    handles: list[Any] = [_patch(name) for name in TYPES if name != "inactive"]
    handles += grid[0].plot([], [], "|", color="black", ms=10, mew=1.5, label="counter-productive")
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure


def _patch(name: str) -> Patch:
    return Patch(facecolor=COLOURS[name], hatch=_HATCHES[name], edgecolor="white", label=name)


def _stack(axes: Axes, shares: Sequence[float | None], place: float, height: float) -> None:
    edge = 0.0
    for name, share in zip(TYPES, shares, strict=True):
        if name != "inactive" and share is not None:  # a share of all cells, the others of the active ones
            axes.barh(
                place, share, height, left=edge, color=COLOURS[name], hatch=_HATCHES[name], edgecolor="white", lw=0
            )
            edge += share


def agreement_grids(rows: Sequence[Row], title: str = "") -> Figure:
    """Draw in how many per cent of the cells two forms give the same type, a panel per attack.

    Args:
        rows: the table ``promotion_agreement``.
        title: above the figure.
    """
    kinds = list(dict.fromkeys(row["images"] for row in rows))
    forms = [(effect, logits) for effect in EFFECTS for logits in LOGITS]
    names = [f"{effect}, {SHORT[logits]}" for effect, logits in forms]
    figure = Figure(figsize=(2.2 + 3.4 * len(kinds), 4.6), layout="constrained")
    grid = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(grid, kinds, strict=True):
        values = np.full((len(forms), len(forms)), np.nan)
        for row in rows:
            if row["images"] == kind and row["effect"] != "all":
                first = forms.index((row["effect"], row["logits"]))
                second = forms.index((row["other_effect"], row["other_logits"]))
                values[second, first] = np.nan if row["agreement"] is None else 100 * row["agreement"]
        axes.imshow(values, cmap="viridis", vmin=0, vmax=100)
        for (y, x), value in np.ndenumerate(values):
            if not np.isnan(value):
                axes.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=7, color="w" if value < 65 else "k")
        axes.set_xticks(range(len(forms)), names, rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(len(forms)), names, fontsize=7)
        axes.set_title(f"{kind}: same type, % of cells", fontsize=8)
        axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure


def score_curves(rows: Sequence[Row], title: str = "") -> Figure:
    """Draw how far the interpretability score exceeds chance over the percentile, beside its two other controls.

    Args:
        rows: the table ``promotion_is_summary``.
        title: above the figure.
    """
    kinds, maps = (list(dict.fromkeys(row[key] for row in rows)) for key in ("images", "map"))
    figure = Figure(figsize=(max(5.4, 1.2 + 2.9 * len(kinds)), 1.1 + 2.3 * len(maps)), layout="constrained")
    grid = figure.subplots(len(maps), len(kinds), squeeze=False, sharex=True, sharey=True)
    for axes, (name, kind) in zip(grid.flat, [(name, kind) for name in maps for kind in kinds], strict=True):
        curves = [row for row in rows if (row["map"], row["images"]) == (name, kind)]
        axes.axhline(0, color="black", ls="--", lw=1, label="chance")
        for (of, which), colour in _LINES.items():
            line = [row for row in curves if (row["of"], row["class"]) == (of, which)]
            x = [row["percentile"] for row in line]
            low, middle, high = (_column(line, f"minus_chance{key}") for key in ("_low", "", "_high"))
            axes.plot(
                x, middle, color=colour, marker=_MARKERS[of, which], ms=3, lw=1.2, label=f"{of} image, {which} class"
            )
            axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        x = list(dict.fromkeys(row["percentile"] for row in curves))
        for control, style, words in (("rolled", ":", "the maps rolled"), ("other", "-.", "another image's maps")):
            level = [_mean(curves, percentile, control) - _mean(curves, percentile, "chance") for percentile in x]
            axes.plot(x, level, color="#666666", ls=style, lw=1.1, label=words)
        axes.set_title(f"{kind}, {name.replace('_', '-')}", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
    for axes in grid[-1]:
        axes.set_xlabel("percentile P", fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("score − √(1 − P/100)", fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=7)
    figure.suptitle(f"{title}: interpretability score beyond chance", fontsize=10)
    return figure


def _column(rows: Sequence[Row], key: str) -> NDArray[np.float64]:
    return np.array([row[key] for row in rows], float)


def _mean(rows: Sequence[Row], percentile: float, key: str) -> float:
    """Return the mean of a control over the four maps at one percentile."""
    values = _column([row for row in rows if row["percentile"] == percentile], key)
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan


def cell_panels(rows: Sequence[Row], result: Result, title: str = "") -> Figure:
    """Draw images with their cells' effects and types, and the real image's maps for both classes, a row each.

    Args:
        rows: of the table ``promotion_pictures``.
        result: with its arrays.
        title: above the figure.
    """
    figure = Figure(figsize=(14.4, 0.7 + 1.75 * len(rows)), layout="constrained")
    for axes_of, row in zip(figure.subplots(len(rows), 9, squeeze=False), rows, strict=True):
        remove, add, raw, centred = EFFECTS.index("remove"), EFFECTS.index("add"), 0, LOGITS.index("centred")
        gain, loss, types = (result.arrays[row[key]] for key in ("promotion", "suppression", "types"))
        most = max(float(np.abs(values[remove, raw]).max()) for values in (gain, loss)) or 1.0
        colours = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
        kinds = {"cmap": ListedColormap([COLOURS[name] for name in TYPES]), "vmin": -0.5, "vmax": len(TYPES) - 0.5}
        grey = {"cmap": "magma", "vmin": 0, "vmax": 255}
        panels: list[tuple[str, NDArray[Any], dict[str, Any]]] = [
            (row["true"], result.arrays[row["picture"]], {}),
            (row["target"], result.arrays[row["adversarial"]], {}),
            (f"T, remove, ±{most:.2g}", gain[remove, raw], colours),
            (f"S, remove, ±{most:.2g}", loss[remove, raw], colours),
            ("types, remove", types[remove, raw], kinds),
            ("types, add", types[add, raw], kinds),
            ("types, remove, centred", types[remove, centred], kinds),
            (f"{row['map'].replace('_', '-')}, true class", result.arrays[row["true_map"]], grey),
            (f"{row['map'].replace('_', '-')}, target", result.arrays[row["target_map"]], grey),
        ]
        for axes, (text, values, options) in zip(axes_of, panels, strict=True):
            axes.imshow(values, interpolation="nearest", **options)
            axes.set_title(text[:26], fontsize=7)
            axes.set_xticks([])
            axes.set_yticks([])
    handles = [Patch(facecolor=COLOURS[name], edgecolor="#999999", label=name) for name in TYPES]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure
