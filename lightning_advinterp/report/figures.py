"""Figures from data: nothing here computes anything that a table does not hold."""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.report.styles import BLACK, BLUE, SKY, legend_below, styles
from lightning_advinterp.report.table import condition

_BARS = {"top1": (BLUE, ""), "top5": (SKY, "////")}


def accuracy_bars(rows: Sequence[Row], title: str = "") -> Figure:
    """Top-1 and top-5 accuracy per image kind, with their 95 % intervals.

    Args:
        rows: the table ``accuracy``.
        title: above the figure.
    """
    figure = Figure(figsize=(1.6 + 1.3 * len(rows), 3.6), layout="constrained")
    axes: Axes = figure.subplots()
    places = np.arange(len(rows))
    for offset, key in ((-0.2, "top1"), (0.2, "top5")):
        shares = np.array([row[key] for row in rows])
        spread = np.array([[row[key] - row[f"{key}_low"], row[f"{key}_high"] - row[key]] for row in rows]).T
        bars = axes.bar(
            places + offset,
            100 * shares,
            0.38,
            yerr=100 * spread.clip(0),
            color=_BARS[key][0],
            hatch=_BARS[key][1],
            edgecolor="white",
            ecolor=BLACK,
            capsize=3,
            label=key,
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
    names = [condition(row, "\nε = ") for row in rows]
    axes.set_xticks(places, names)
    axes.set(ylabel="accuracy (%)", ylim=(0, 112), title=title)
    axes.set_yticks(range(0, 101, 20))
    legend_below(figure, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def radii_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of attacks that differ in their radius alone, by what they share: ``fgsm2`` and ``fgsm4``.

    Args:
        rows: the table ``accuracy``.
    """
    rows_by_attack: dict[str, list[Row]] = {}
    for row in rows:
        if row["images"] != REAL and row["eps"] is not None:
            shared = re.sub(r"[-_ ]?[\d.]+$", "", row["images"])
            rows_by_attack.setdefault(f"{shared} (L2)" if row.get("norm") == "l2" else shared, []).append(row)
    return {
        name: rows_of_attack
        for name, rows_of_attack in rows_by_attack.items()
        if len({row["eps"] for row in rows_of_attack}) == len(rows_of_attack) > 1
    }


def robustness_curve(rows: Sequence[Row], title: str = "") -> Figure:
    """Top-1 accuracy over ε with its 95 % intervals, a panel for each norm; ε = 0 are the real images.

    Args:
        rows: the table ``accuracy``.
        title: above the figure.
    """
    curves, real = radii_of(rows), [row for row in rows if row["images"] == REAL]
    norms = list(dict.fromkeys(rows_of_attack[0].get("norm") for rows_of_attack in curves.values()))
    figure = Figure(figsize=(1 + 4.2 * len(norms), 3.6), layout="constrained")
    for axes, norm in zip(figure.subplots(1, len(norms), squeeze=False)[0], norms, strict=True):
        unit = 1 if norm == "l2" else 255
        of_norm = {name: attacked for name, attacked in curves.items() if attacked[0].get("norm") == norm}
        for style, (name, rows_of_attack) in zip(styles(of_norm).values(), of_norm.items(), strict=True):
            points = [row | {"eps": row["eps"] or 0.0} for row in (*real, *rows_of_attack)]
            points.sort(key=lambda row: row["eps"])
            radii = [unit * row["eps"] for row in points]
            low, mid, high = ([100 * row[key] for row in points] for key in ("top1_low", "top1", "top1_high"))
            axes.plot(radii, mid, style.line, marker=style.marker, color=style.colour, markersize=4, label=name)
            axes.fill_between(radii, low, high, color=style.colour, alpha=0.15, lw=0)
        axes.set(xlabel="ε (L2)" if norm == "l2" else "ε (of 255)", ylabel="top-1 accuracy (%)", ylim=(0, 100))
        axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def attack_panel(real: Tensor, adversarial: Tensor, captions: Sequence[tuple[str, str]], *, title: str = "") -> Figure:
    """Rows of a real image, the adversarial one, and their difference, amplified to be seen.

    Args:
        real: ``[B, 3, H, W]`` in [0, 1].
        adversarial: same shape.
        captions: per image, what stands above the real and above the adversarial image.
        title: above the figure.
    """
    difference = (adversarial - real).float()
    largest = float(difference.abs().max())
    figure = Figure(figsize=(6.6, 2.25 * len(real) + 0.4), layout="constrained")
    grid = figure.subplots(len(real), 3, squeeze=False)
    amplified = 0.5 + difference / (2 * largest) if largest > 0 else difference + 0.5
    for row, axes in enumerate(grid):
        pictures = (real[row], adversarial[row], amplified[row])
        texts = (*captions[row], f"difference × {0.5 / largest:.0f}" if largest > 0 else "no difference")
        for axis, picture, text in zip(axes, pictures, texts, strict=True):
            axis.imshow(picture.float().clamp(0, 1).permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
            axis.set_title(text, fontsize=8)
            axis.axis("off")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure
