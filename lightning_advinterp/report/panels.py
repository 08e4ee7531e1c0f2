"""Panels of units: the images that a unit answers most to, with the part that it looks at highlighted."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

_DIMMED = 0.35
"""Brightness of what a unit does not look at."""
_OUTLINE, _FRAME = "#ffd23f", "#d62728"
_SIZE, _CAPTIONED, _DPI = 0.75, 0.9, 150
"""Side of a picture in inches, alone and below a caption; some 110 pixels, so that 128 of them make no huge file."""
_MARGIN, _HEADLINE, _CAPTION, _FOOT = 1.75, 0.2, 0.28, 0.03
"""Inches for the titles at the left, for a line of the one above, for captions, and for half a frame below."""
_LETTERS = 11
"""So many letters of the title fit into an inch."""
_LINE = 28
"""So many letters fit beside the pictures."""


@dataclass(frozen=True)
class PanelRow:
    """One row of a panel.

    Attributes:
        title: what stands at its left: the unit, or the kind of images.
        pictures: uint8 ``[N, H, W, 3]``.
        masks: bool ``[N, H, W]``, what is highlighted.
        captions: what stands above each picture; empty for nothing.
        framed: which pictures get a frame; empty for none.
    """

    title: str
    pictures: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    captions: Sequence[str] = ()
    framed: Sequence[bool] = field(default_factory=tuple)


def unit_panel(rows: Sequence[PanelRow], title: str = "") -> Figure:
    """Draw rows of pictures: inside its mask a picture is bright and outlined, outside it is dimmed.

    Args:
        rows: of any lengths; shorter ones leave their places empty.
        title: above the figure.
    """
    columns = max((len(row.pictures) for row in rows), default=1)
    captioned = any(row.captions for row in rows)
    size = _CAPTIONED if captioned else _SIZE
    width = _MARGIN + size * columns
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, int(_LETTERS * width))]
    caption, head = _CAPTION * captioned, _HEADLINE * (len(lines) + 1)
    height = head + (size + caption) * max(1, len(rows)) + _FOOT
    figure = Figure(figsize=(width, height), dpi=_DPI)
    # Places of its own: the automatic layouts leave too little for the titles at the left of many rows.
    edges = {"left": _MARGIN / width, "right": 1, "bottom": _FOOT / height, "top": 1 - (head + caption) / height}
    # One axes per row: one per picture would take ten times as long.
    grid = figure.subplots(max(1, len(rows)), 1, squeeze=False, gridspec_kw=edges | {"hspace": 0.08 + caption / size})
    for axes, row in zip(grid[:, 0], rows, strict=False):
        axes.set_anchor("SW")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(_shortened(row.title), rotation=0, ha="right", va="center", fontsize=8)
        if len(row.pictures):
            _draw(axes, row, columns)
    if lines:
        figure.suptitle("\n".join(lines), y=1 - 0.1 / height, va="top", fontsize=10)
    return figure


def _shortened(title: str) -> str:
    """Cut lines that would reach beyond the figure."""
    return "\n".join(line if len(line) <= _LINE else f"{line[: _LINE - 1]}…" for line in title.splitlines())


def _draw(axes: Axes, row: PanelRow, columns: int) -> None:
    count, height, width = row.masks.shape
    step = width + max(1, width // 16)
    strip = np.full((height, columns * step, 3), 255, np.uint8)
    outlined = np.zeros((height, columns * step), np.bool_)
    for place in range(count):
        mask, own = row.masks[place], slice(place * step, place * step + width)
        strip[:, own] = row.pictures[place] * np.where(mask, 1.0, _DIMMED)[..., None]
        outlined[:, own] = mask & (not mask.all())
        if row.captions:
            middle = place * step + width / 2
            axes.text(middle, -0.5 - height / 32, row.captions[place], fontsize=6, ha="center", va="bottom")
        if row.framed and row.framed[place]:
            corner = (place * step - 0.5, -0.5)
            axes.add_patch(Rectangle(corner, width, height, fill=False, ec=_FRAME, lw=2, clip_on=False))
    axes.imshow(strip)
    if outlined.any():
        axes.contour(outlined, levels=[0.5], colors=_OUTLINE, linewidths=0.8)
