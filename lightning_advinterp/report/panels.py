"""Panels of units: the images that a unit answers most to, with the part that it looks at highlighted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_DIMMED = 0.35
"""Brightness of what a unit does not look at."""
_OUTLINE, _FRAME = "#ffd23f", "#d62728"


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
    size = 1.25
    figure = Figure(figsize=(1.3 + size * columns, 0.4 + (size + 0.28 * captioned) * len(rows)), layout="constrained")
    grid = figure.subplots(max(1, len(rows)), max(1, columns), squeeze=False)
    for axes, row in zip(grid, rows, strict=False):
        for place, axis in enumerate(axes):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if place < len(row.pictures):
                _draw(axis, row, place)
        axes[0].set_ylabel(row.title, rotation=0, ha="right", va="center", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _draw(axis: Axes, row: PanelRow, place: int) -> None:
    mask = row.masks[place]
    shown = row.pictures[place] * np.where(mask, 1.0, _DIMMED)[..., None]
    axis.imshow(shown.astype(np.uint8), interpolation="nearest")
    if mask.any() and not mask.all():
        axis.contour(mask, levels=[0.5], colors=_OUTLINE, linewidths=0.8)
    if row.captions:
        axis.set_title(row.captions[place], fontsize=6, pad=2)
    if row.framed and row.framed[place]:
        axis.spines[:].set(visible=True, color=_FRAME, linewidth=2)
