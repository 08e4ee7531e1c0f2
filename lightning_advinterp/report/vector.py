"""Figures as SVG and PDF for print: as wide as a column or a page, with fonts inside, and equal when drawn anew."""

import pickle
from collections.abc import Sequence
from typing import Any, BinaryIO

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from lightning_advinterp.report.plain import plain_text

FORMATS = ("png", "svg", "pdf")
WIDTHS = (3.5, 7.16)
"""Inches of one column and of two, as IEEE's and most other two-column styles have them."""
SMALLEST = 5.0
"""Points of the smallest letters in print."""
_DPI = 300
_EMBEDDED: dict[Any, Any] = {
    "pdf.fonttype": 42,  # TrueType, whole letters: publishers refuse Type 3
    # Letters of an SVG are outlines: its reader's machine need not have the font.
    "svg.fonttype": "path",
    "svg.hashsalt": "lightning_advinterp",  # names of clips are drawn at random without it
}
_NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def figure_formats(text: str | Sequence[str]) -> tuple[str, ...]:
    """Return the formats that ``png,svg,pdf`` names, each once; PNG is always among them: the page shows it.

    Raises:
        ValueError: if there is no such format.

    Example::

        >>> figure_formats("pdf")
        ('png', 'pdf')
    """
    names = text.split(",") if isinstance(text, str) else text
    formats = [name.strip().lower() for name in names if name.strip()]
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"figures must be of {', '.join(FORMATS)}, separated by commas; got {name!r}.")
    return tuple(name for name in FORMATS if name == "png" or name in formats)


def draw_vector(figure: Figure, kind: str, file: BinaryIO) -> None:
    """Write a figure at print width; the same figure gives the same bytes.

    It is laid out anew at that width: letters shrink with it, to 5 points at the least.

    Args:
        figure: stays as it is.
        kind: ``svg`` or ``pdf``.
        file: is written.
    """
    printed: Figure = pickle.loads(pickle.dumps(plain_text(figure)))
    width, height = (float(side) for side in printed.get_size_inches())
    target = print_width(width)
    scale = target / width
    printed.set_size_inches(target, height * scale)
    with rc_context(_EMBEDDED):
        printed.draw_without_rendering()  # makes the ticks' letters
        for text in printed.findobj(Text):
            assert isinstance(text, Text)
            size = float(text.get_fontsize())
            text.set_fontsize(max(min(SMALLEST, size), size * scale))
        for axes in printed.axes:  # and those of ticks that the new layout adds
            for axis in (axes.xaxis, axes.yaxis):
                letters = axis.get_ticklabels()
                if letters:
                    axis.set_tick_params(which="both", labelsize=letters[0].get_fontsize())
        printed.savefig(file, format=kind, dpi=_DPI, metadata=_NO_DATE[kind])


def print_width(width: float) -> float:
    """Return the width in print of a figure that is so wide on the screen, both in inches.

    Up to 5 inches are a column: letters shrink to seven tenths at the least. Wider figures take two.
    """
    column, page = WIDTHS
    return column if width <= column / 0.7 else page
