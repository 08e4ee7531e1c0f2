"""How series of a figure are told apart: by colour, colour-blind-safe, and in grey print by marker, line and hatch."""

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
"""Okabe & Ito 2008, "Color Universal Design", without yellow, which is too light for lines on white."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":")
_HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\", "oooo")


@dataclass(frozen=True)
class Style:
    """Of one series.

    Attributes:
        colour: hexadecimal.
        marker: of points.
        line: of curves.
        hatch: of bars; empty for a plain one.
    """

    colour: str
    marker: str
    line: str
    hatch: str


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return a style for every name, in order; the first seven differ in colour, marker and hatch each.

    Further ones have colours and markers again in other pairs: 28 differ in colour or line.
    """
    unique = list(dict.fromkeys(names))
    return {name: style(number) for number, name in enumerate(unique)}


def style(number: int) -> Style:
    """Return the style of the series with this number, from 0."""
    rounds = number // len(COLOURS)
    return Style(
        COLOURS[number % len(COLOURS)],
        _MARKERS[(number + rounds) % len(_MARKERS)],
        _LINES[(number + rounds) % len(_LINES)],
        _HATCHES[(number + rounds) % len(_HATCHES)],
    )


def legend_below(figure: Figure, fontsize: float = 7, columns: int = 2) -> None:
    """Write one legend of all panels below them, where it covers no point, bar or number.

    Args:
        figure: with the layout ``constrained``, which makes room.
        fontsize: in points.
        columns: entries side by side.
    """
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(str(label), handle)
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=fontsize,
        )
