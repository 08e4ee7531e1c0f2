"""Figures of detection: every detector under every attack, and risk over coverage."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_advinterp.core.result import Row
from lightning_advinterp.report.styles import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, Style, styles
from lightning_advinterp.report.table import condition, radius

_ATTACKS = (BLUE, GREEN, ORANGE, PURPLE, SKY, BLACK)
_MARKERS = ("o", "s", "^", "v", "P", "X")  # diamonds are adaptive
_MEASURES = (("auroc", "auroc", "AUROC"), ("tpr_at_5", "tpr", "attacked images that are flagged"))


def detectors(rows: Sequence[Row], title: str = "") -> Figure:
    """Draw AUROC and true positive rate of every score under every attack; diamonds are adaptive attacks.

    Args:
        rows: the table ``detection``.
        title: above the figure.
    """
    names = list(dict.fromkeys(row["score"] for row in rows))
    series = list(dict.fromkeys((row["adaptive"], _label(row)) for row in rows))
    figure = Figure(figsize=(9.0, 1.6 + (0.22 + 0.13 * len(series)) * len(names)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    plain = [label for adaptive, label in series if not adaptive]
    for axes, (measure, short, label) in zip(panels, _MEASURES, strict=True):
        for number, (adaptive, name) in enumerate(series):
            chosen = [row for row in rows if (row["adaptive"], _label(row)) == (adaptive, name)]
            chosen = [row for row in chosen if row[measure] is not None]
            places = np.array([names.index(row["score"]) for row in chosen])
            offset = 0.8 * ((number + 0.5) / len(series) - 0.5)
            values = np.array([[row[measure], row[f"{short}_low"], row[f"{short}_high"]] for row in chosen])
            values = values.reshape(-1, 3)
            spread = np.abs(values[:, 1:].T - values[:, 0])
            place = 0 if adaptive else plain.index(name)
            colour = VERMILLION if adaptive else _ATTACKS[place % len(_ATTACKS)]
            axes.errorbar(
                values[:, 0],
                places + offset,
                xerr=spread,
                fmt="D" if adaptive else _MARKERS[place % len(_MARKERS)],
                color=colour,
                ms=5 if adaptive else 4,
                elinewidth=0.9,
                capsize=2,
                label=name,
            )
        rate = rows[0]["rate"] if rows else 0.05
        axes.axvline(0.5 if measure == "auroc" else rate, color="#999999", lw=0.8, ls=":", zorder=0)
        axes.set(xlabel=label, xlim=(-0.03, 1.03))
        axes.spines[["top", "right"]].set_visible(False)
        for edge in range(1, len(names)):
            axes.axhline(edge - 0.5, color="#eeeeee", lw=0.8, zorder=0)
    panels[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(series)), frameon=False, fontsize=8)
    figure.suptitle(f"{title}: detection of attacked images" if title else "detection of attacked images", fontsize=10)
    return figure


def _label(row: Row) -> str:
    """Return the attack, or the ball of an adaptive one, which has its radius from a plain attack."""
    if not row["adaptive"]:
        return condition(row)
    return f"adaptive, ε={radius(row['eps'], row['norm'])}"


def risk_coverage(curves: Sequence[Row], summary: Sequence[Row], title: str = "") -> Figure:
    """Draw the share of errors over coverage, and the area under each curve, for every kind of images.

    Args:
        curves: the table ``risk_coverage``.
        summary: the table ``errors_summary``.
        title: above the figure.
    """
    names = list(dict.fromkeys(row["score"] for row in summary))
    kinds = list(dict.fromkeys(row["images"] for row in summary))
    drawn = styles(names)
    figure = Figure(figsize=(1.6 + 2.6 * len(kinds), 5.2), layout="constrained")
    grid = figure.subplots(2, len(kinds), squeeze=False, sharey="row", height_ratios=(3, 2))
    for (upper, lower), kind in zip(grid.T, kinds, strict=True):
        rows = [row for row in summary if row["images"] == kind]
        for name in names:
            points = [row for row in curves if (row["images"], row["score"]) == (kind, name)]
            x, y = ([row[key] for row in points] for key in ("coverage", "risk"))
            upper.plot(x, y, drawn[name].line, color=drawn[name].colour, lw=1.1, label=name.replace("_", " "))
        upper.axhline(rows[0]["error_rate"], color="#999999", lw=0.8, ls=":")
        upper.set(title=condition(rows[0]), xlabel="coverage", xlim=(0, 1))
        upper.title.set_fontsize(9)
        _areas(lower, rows, drawn)
        for axes in (upper, lower):
            axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel("share of errors")
    grid[0, 0].set_ylim(bottom=0)
    grid[1, 0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=7)
    grid[1, 0].invert_yaxis()
    figure.suptitle(f"{title}: errors among the most trusted images" if title else "risk over coverage", fontsize=10)
    return figure


def _areas(axes: Axes, rows: Sequence[Row], drawn: dict[str, Style]) -> None:
    """Draw the area under each curve with its interval; dotted where a score knows nothing, dashed the best."""
    for place, row in enumerate(rows):
        style = drawn[row["score"]]
        spread = [[abs(row["aurc"] - row["aurc_low"])], [abs(row["aurc_high"] - row["aurc"])]]
        axes.errorbar(row["aurc"], place, xerr=spread, fmt=style.marker, ms=4, color=style.colour, capsize=2)
    axes.axvline(rows[0]["error_rate"], color="#999999", lw=0.8, ls=":")
    axes.axvline(rows[0]["aurc_best"], color="#999999", lw=0.8, ls="--")
    axes.set(xlabel="area under the curve")
