"""Figures of sensitivity: what moves, whether detectors move more, and what masking units does."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_advinterp.analyses.sensitivity.tables import ALL
from lightning_advinterp.core.result import Row
from lightning_advinterp.report.styles import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILLION, legend_below, styles
from lightning_advinterp.report.table import condition

_COLOURS = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P")
_GREY = "#9a9a9a"


def _kinds(rows: Sequence[Row]) -> dict[str, str]:
    """Return every kind's colour: an attack and its noise have the same."""
    kinds = list(dict.fromkeys(row["images"] for row in rows))
    attacks = list(dict.fromkeys(kind.partition("~")[0] for kind in kinds))
    return {kind: _COLOURS[attacks.index(kind.partition("~")[0]) % len(_COLOURS)] for kind in kinds}


def _markers(colours: Mapping[str, str]) -> dict[str, str]:
    """Return every kind's marker: attacks differ in grey print too."""
    return {kind: _MARKERS[_COLOURS.index(colour)] for kind, colour in colours.items()}


def _style(kind: str) -> str:
    """Return the line of a kind: full for attacks, broken for noise."""
    return {"": "-", "noise_linf": "--", "noise_l2": ":"}[kind.partition("~")[2]]


def _plain(axes: Axes, **settings: Any) -> None:
    axes.set(**settings)
    axes.spines[["top", "right"]].set_visible(False)


def _legend_below(axes: Axes) -> None:
    """Put the legend where it hides nothing."""
    axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def change_figure(rows: Sequence[Row], layers: Sequence[Row], title: str = "") -> Figure:
    """Draw how units of the last layer change, and how much units of every layer do.

    Args:
        rows: the table ``sensitivity``.
        layers: the table ``sensitivity_layers``.
        title: above the figure.
    """
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    changes, sizes = figure.subplots(1, 2, width_ratios=(1.2, 1))
    last = [row["layer"] for row in layers if row["layer"] != ALL][-1]
    of_last = [row for row in rows if row["layer"] == last]
    values = np.array([row["change_sd"] for row in of_last if row["change_sd"] is not None], dtype=float)
    values = values[np.isfinite(values)]
    reach = float(np.abs(values).max()) if len(values) else 1.0
    bins = np.linspace(-reach, reach, 41)
    shares = {row["images"]: row for row in layers if row["layer"] == last}
    for kind, colour in _kinds(of_last).items():
        unit_changes = [row["change_sd"] for row in of_last if row["images"] == kind and row["change_sd"] is not None]
        layer_row = shares[kind]
        moved = [layer_row[key] if layer_row[key] is not None else np.nan for key in ("promoted", "suppressed")]
        label = f"{condition(layer_row)}: {100 * moved[0]:.0f} % up, {100 * moved[1]:.0f} % down"
        changes.hist(unit_changes, bins, histtype="step", color=colour, ls=_style(kind), lw=1.4, label=label)
    changes.axvline(0, color=_GREY, lw=0.6)
    _plain(changes, xlabel="mean change, standard deviations over real images", ylabel="units", yscale="log")
    changes.set_title(f"{last}: change of units", fontsize=9)
    changes.yaxis.set_major_formatter("{x:g}")
    _legend_below(changes)
    _depth(sizes, [row for row in layers if row["layer"] != ALL or len({row["layer"] for row in layers}) == 1])
    figure.suptitle(title, fontsize=10)
    return figure


def _depth(axes: Axes, layers: Sequence[Row]) -> None:
    """Draw the mean magnitude of changes of every layer."""
    names = list(dict.fromkeys(row["layer"] for row in layers))
    kinds = _kinds(layers)
    markers = _markers(kinds)
    for kind, colour in kinds.items():
        means = [row["sensitivity"] for row in layers if row["images"] == kind]
        heights = [np.nan if mean is None else mean for mean in means]
        axes.plot(range(len(names)), heights, _style(kind), color=colour, marker=markers[kind], ms=4, label=kind)
    axes.set_xticks(range(len(names)), names, rotation=60 if len(names) > 3 else 0, fontsize=7)
    axes.margins(x=0.15)
    _plain(axes, ylabel="mean |change|, standard deviations", ylim=(0, None))
    axes.set_title("sensitivity, mean over units", fontsize=9)
    _legend_below(axes)


def claim_figure(rows: Sequence[Row], tests: Sequence[Row], title: str = "") -> Figure:
    """Draw sensitivity against IoU in the last layer, and the effect of being a detector in all layers.

    Args:
        rows: the table ``sensitivity``.
        tests: the table ``sensitivity_test``.
        title: above the figure.
    """
    shown = [row for row in tests if row["category"] == ALL and row["reading"] == tests[0]["reading"]]
    layers = list(dict.fromkeys(row["layer"] for row in shown))
    kinds = _kinds(shown)
    figure = Figure(figsize=(10, max(4.6, 2.2 + 0.16 * len(layers) * len(kinds))), layout="constrained")
    scatter, forest = figure.subplots(1, 2)
    last = [layer for layer in layers if layer != ALL][-1]
    attack = next(iter(kinds))
    points = [row for row in rows if (row["layer"], row["images"]) == (last, attack) and row["iou"] is not None]
    points = [row for row in points if row["sensitivity"] is not None and np.isfinite(row["sensitivity"])]
    iou, size = ([row[key] for row in points] for key in ("iou", "sensitivity"))
    scatter.scatter(iou, size, s=9, color=kinds[attack], alpha=0.5, lw=0)
    test = next(row for row in shown if (row["layer"], row["images"]) == (last, attack))
    correlation = "" if test["spearman"] is None else f", Spearman {test['spearman']:.2f}"
    _plain(scatter, xlabel="IoU with the concept detected best", ylabel="mean |change|, standard deviations")
    scatter.set_title(f"{last}, {attack}{correlation}", fontsize=9)
    _forest(forest, shown, layers, kinds)
    figure.suptitle(title, fontsize=10)
    return figure


def _forest(axes: Axes, rows: Sequence[Row], layers: Sequence[str], kinds: dict[str, str]) -> None:
    """Draw the effect in every layer with its interval, one line for each kind of images."""
    step, markers = 0.8 / len(kinds), _markers(kinds)
    for number, (kind, colour) in enumerate(kinds.items()):
        label = kind
        for place, layer in enumerate(layers):
            row = next(row for row in rows if (row["layer"], row["images"]) == (layer, kind))
            if row["effect"] is None:
                continue
            y = place + (number - (len(kinds) - 1) / 2) * step
            axes.plot([row["effect_low"], row["effect_high"]], [y, y], _style(kind), color=colour, lw=1.4)
            face = colour if (row["p_holm"] or row["p"]) < 0.05 else "white"
            axes.plot(row["effect"], y, markers[kind], color=colour, ms=5, mfc=face, label=label)
            label = "_"
    axes.axvline(0, color=_GREY, lw=0.8)
    pairs = {row["layer"]: row["pairs"] for row in rows if row["images"] == next(iter(kinds))}
    axes.set_yticks(range(len(layers)), [f"{layer}\n{pairs[layer]} pairs" for layer in layers], fontsize=7)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    _plain(axes, xlabel="Cliff's δ, 95 % interval: > 0, detectors are more sensitive")
    axes.set_title("detectors beside matched units (filled: p < 0.05 by Holm)", fontsize=9)
    if any(row["effect"] is not None for row in rows):
        _legend_below(axes)


def masking_figure(rows: Sequence[Row], title: str = "") -> Figure:
    """Draw accuracy over the number of units set to zero: the most sensitive, and random ones.

    Args:
        rows: the table ``sensitivity_masking``.
        title: above the figure.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes: Axes = figure.subplots()
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    for attack, drawn_as in styles(attacks).items():
        colour = drawn_as.colour
        attack_rows = [row for row in rows if row["attack"] == attack]
        start = [row for row in attack_rows if row["units"] == 0]
        sensitive = sorted(
            [*start, *(row for row in attack_rows if row["mask"] == "sensitive")], key=lambda row: row["units"]
        )
        name = attack if attack_rows[0]["eps"] is None else condition({"images": attack, "eps": attack_rows[0]["eps"]})
        low, mid, high = ([100 * row[key] for row in sensitive] for key in ("top1_low", "top1", "top1_high"))
        counts = [row["units"] for row in sensitive]
        axes.plot(counts, mid, "-", marker=drawn_as.marker, color=colour, ms=4, label=f"{name}, most sensitive")
        axes.fill_between(counts, low, high, color=colour, alpha=0.12, lw=0)
        counts = [row["units"] for row in sensitive if row["units"]]
        drawn = [
            [100 * row["top1"] for row in attack_rows if row["mask"] == "random" and row["units"] == n] for n in counts
        ]
        axes.plot(counts, [np.mean(values) for values in drawn], "--", color=colour, lw=1.2, label=f"{name}, random")
        for count, values in zip(counts, drawn, strict=True):
            axes.plot([count] * len(values), values, "x", color=colour, ms=4)
    n = rows[0]["n"]
    _plain(axes, xlabel="units set to zero", ylabel=f"top-1 accuracy (%), {n} images", ylim=(0, 100))
    legend_below(figure)
    figure.suptitle(title, fontsize=10)
    return figure
