"""The sheet of traced predictions: each image, and the units that made its prediction."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from lightning_advinterp.analyses.tracing.sentences import of_one_class, percent
from lightning_advinterp.analyses.tracing.strips import SIDE, strips_of
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.report.panels import PanelRow, unit_panel

_MOST, _UNITS, _IMAGES = 4, 3, 6
"""So many images are drawn at most, so many units of each, and so many of the units' images."""


def errors_sheet(result: Result, title: str) -> Figure:
    """Draw the first real images with a page, and the strongest images of the units that speak most for its prediction.

    Where no data set was looked at, units have no images and are named alone.

    Args:
        result: of tracing.
        title: what the network is called.
    """
    strips = strips_of(result)
    drawn = []
    for page in [page for page in result.tables["tracing_pages"] if page["images"] == REAL][:_MOST]:
        verdict = "" if page["label"] in (None, page["predicted"]) else f"\nlabelled {page['label_name']}"
        pixels = _shrunk(result.arrays[page["picture"]])
        mask = np.ones((1, SIDE, SIDE), np.bool_)
        units = "" if strips else f"\nunits {', '.join(str(row['unit']) for row in _strongest(result, page))}"
        caption = f"{page['predicted_name']}\n{percent(page['confidence'])}{verdict}{units}"
        drawn.append(PanelRow(caption, pixels[None], mask))
        for row in _strongest(result, page) if strips else ():
            meaning = f"\n{row['mode_class']}" if of_one_class(row) else ""
            head = f"{page['layer']} unit {row['unit']}{meaning}"
            drawn.append(PanelRow(head, *_unit_images(strips.get(row["unit"]))))
    return unit_panel(drawn, f"{title}: predictions, and the units that speak most for them")


def _strongest(result: Result, page: Row) -> Sequence[Row]:
    keys = ("image", "images", "layer", "form", "baseline")
    rows = [row for row in result.tables["tracing"] if all(row[key] == page[key] for key in keys)]
    return [row for row in rows if row["class"] == "predicted" and (row["difference"] or 0) > 0][:_UNITS]


def _unit_images(strip: NDArray[np.uint8] | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    if strip is None:
        return np.zeros((0, SIDE, SIDE, 3), np.uint8), np.zeros((0, SIDE, SIDE), np.bool_)
    count = min(_IMAGES, strip.shape[1] // SIDE)
    images = strip[:, : count * SIDE].reshape(SIDE, count, SIDE, 3).swapaxes(0, 1)
    return images, np.ones((count, SIDE, SIDE), np.bool_)


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
