"""The figure of the walks along level sets."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lightning_advinterp.core.result import Row

_COLOURS = {"principal": "#d1495b", "random": "#3b6ea5"}


def walk_figure(summary: Sequence[Row], title: str = "") -> Figure:
    """Draw how far the gradient turns along the level set, beside the bound |λ| d.

    Args:
        summary: the table ``curvature_walk_summary``.
        title: above the figure.
    """
    names = list(dict.fromkeys(row["walk"] for row in summary))
    figure = Figure(figsize=(1 + 3.6 * len(names), 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        rows = [row for row in summary if row["walk"] == name and row["n"]]
        distance = np.array([0.0] + [row["distance"] for row in rows])
        turn = np.array([[0.0, 0.0, 0.0]] + [[row["turn_q10"], row["turn"], row["turn_q90"]] for row in rows])
        axes.fill_between(distance, turn[:, 0], turn[:, 2], color=_COLOURS[name], alpha=0.2, lw=0)
        axes.plot(distance, turn[:, 1], "-o", ms=3, color=_COLOURS[name], label="turn of the gradient, 10 to 90 %")
        bound = [0.0] + [row["bound"] for row in rows]
        axes.plot(distance, bound, "--", color="#555555", label="bound |λ| d, median")
        axes.set(xlabel="distance d along the level set", ylim=(0, None), xlim=(0, None))
        axes.set_title(f"from the image along: {name}", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7, loc="upper left")
    figure.axes[0].set_ylabel("‖n(p) − n(p₀)‖")
    figure.suptitle(title, fontsize=10)
    return figure
