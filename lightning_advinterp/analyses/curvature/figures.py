"""Figures of the walks along level sets, and of the sweep over β."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from lightning_advinterp.analyses.curvature.smoothing import beta_groups, mean_of
from lightning_advinterp.core.result import Row
from lightning_advinterp.report.styles import BLUE, VERMILLION

_COLOURS = {"principal": VERMILLION, "random": BLUE}
_WALKS = {"principal": "the largest principal curvature", "random": "a random tangent"}


def walk_figure(summary: Sequence[Row], title: str = "") -> Figure:
    """Draw how far the gradient turns along the level set, beside the bound |λ| d.

    Args:
        summary: the table ``curvature_walk_summary``.
        title: above the figure.
    """
    names = list(dict.fromkeys(row["walk"] for row in summary))
    figure = Figure(figsize=(1 + 3.6 * len(names), 4.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        rows = [row for row in summary if row["walk"] == name and row["n"]]
        distance = np.array([row["distance"] for row in rows])
        turn = np.array([[row["turn_q10"], row["turn"], row["turn_q90"]] for row in rows]).reshape(-1, 3)
        bound = np.array([row["bound"] for row in rows])
        axes.fill_between(distance, turn[:, 0], turn[:, 2], color=_COLOURS[name], alpha=0.2, lw=0)
        axes.plot(distance, turn[:, 1], "-o", ms=3, color=_COLOURS[name], label="turn of the gradient, 10 to 90 %")
        axes.plot(distance, bound, "--s", ms=3, color="#555555", label="bound |λ| d, median")
        axes.axhline(2, ls=":", lw=1, color="#555555", label="2: opposite directions")
        if len(rows) and min(turn.min(), bound.min()) > 0:  # the bound is mostly many times the turn
            axes.set_yscale("log")
            _labels_within_decades(axes)
        axes.set(xlabel="distance d along the level set", xlim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        _legend_above(axes, f"along {_WALKS[name]}")
    figure.axes[0].set_ylabel("‖n(p) − n(p₀)‖")
    figure.suptitle(title, fontsize=10)
    return figure


def beta_figure(betas: Sequence[Row], smoothgrads: Sequence[Row], title: str = "") -> Figure:
    """Draw manipulability, classes and curvature against β, and which σ of SmoothGrad a β resembles.

    Args:
        betas: the table ``curvature_beta_summary``.
        smoothgrads: the table ``curvature_smoothgrad_summary``.
        title: above the figure.
    """
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    near, classes, bend, noise = figure.subplots(1, 4)
    groups = beta_groups(betas)
    measured = sorted({beta for _, beta in groups if beta is not None})
    lines = (
        ("original_pcc", "with its own map", BLUE, "o"),
        ("target_pcc", "with the target", VERMILLION, "s"),
        ("target_before_pcc", "with the target, before", "#777777", "^"),
    )
    for name, label, colour, marker in lines:
        _against_beta(near, groups, name, label, colour, marker)
    near.set(ylabel="correlation of the attacked map")
    for name, label, colour, marker in (
        ("correct", "right", BLUE, "o"),
        ("class_kept", "class of the network kept", VERMILLION, "s"),
    ):
        _against_beta(classes, groups, name, label, colour, marker)
    classes.set(ylabel="share of images", ylim=(-0.02, 1.02))
    _against_beta(bend, groups, "lambda_max", "|λ| of the Hessian, median", BLUE, "o")
    bend.set(ylabel="curvature")
    if any(row["lambda_max"] for row in betas):
        bend.set_yscale("log")
        _labels_within_decades(bend)
    _smoothgrad_panel(noise, smoothgrads)
    for axes in (near, classes, bend):
        axes.set(xlabel="β (dashed: relu itself)", xscale="log")
        _ticks_at(axes, measured)
    for axes in (near, classes, bend, noise):
        axes.spines[["top", "right"]].set_visible(False)
        _legend_above(axes)
    figure.suptitle(title, fontsize=10)
    return figure


def _against_beta(
    axes: Axes,
    groups: Mapping[tuple[str, float | None], Sequence[Row]],
    name: str,
    label: str,
    colour: str,
    marker: str,
) -> None:
    """Draw one measure of networks smoothed after training, of those trained so, and a dashed line of relu itself.

    Points are means over networks of their medians or shares, bars go from the least network's to the greatest's.
    """
    for kind, line, face, ending in (("smoothed", "-", colour, ""), ("trained", ":", "white", ", trained so")):
        points = {
            beta: [row[name] for row in rows if row[name] is not None]
            for (group, beta), rows in groups.items()
            if group == kind and beta is not None
        }
        places = sorted(beta for beta, values in points.items() if values)
        if kind == "trained" and (not places or name == "class_kept"):  # a network as it is keeps its classes
            continue
        means = [sum(points[beta]) / len(points[beta]) for beta in places]
        look: dict[str, Any] = {"color": colour, "ls": line, "marker": marker, "ms": 4, "mfc": face}
        axes.plot(places, means, label=label + ending, **look)
        for beta in places:
            if len(points[beta]) > 1:
                axes.plot([beta, beta], [min(points[beta]), max(points[beta])], color=colour, ls=line, lw=1)
    itself = mean_of(groups.get(("itself", None), ()), name)
    if itself is not None:
        axes.axhline(itself, ls="--", lw=1, color=colour)


def _smoothgrad_panel(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw a line per β: the correlation of its map with SmoothGrad's against σ."""
    betas = list(dict.fromkeys(row["beta"] for row in rows))
    shades = colormaps["viridis"](np.linspace(0, 0.9, len(betas)))
    for number, (beta, shade) in enumerate(zip(betas, shades, strict=True)):
        line = [row for row in rows if row["beta"] == beta and row["pcc"] is not None]
        label = "relu" if beta is None else f"β = {beta:g}"
        marker = "os^vDP"[number % 6]
        axes.plot([row["sigma"] for row in line], [row["pcc"] for row in line], color=shade, marker=marker, ms=4)
        axes.lines[-1].set_label(label)
    axes.set(xlabel="σ of SmoothGrad", ylabel="correlation of the maps", xscale="log")
    _ticks_at(axes, list(dict.fromkeys(row["sigma"] for row in rows)))


def _ticks_at(axes: Axes, values: Sequence[float]) -> None:
    """Mark the values that were measured, and no powers of ten."""
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FixedFormatter([f"{value:g}" for value in values]))


def _labels_within_decades(axes: Axes) -> None:
    """Label a logarithmic axis at 2 and 5 as well: values within one decade would have no label at all."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend_above(axes: Axes, title: str | None = None) -> None:
    """Put the legend above the axes, where it covers no points."""
    axes.legend(
        frameon=False, fontsize=7, title=title, title_fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.02)
    )
