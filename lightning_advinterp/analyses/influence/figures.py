"""The page of exemplars: which training images count most, before and after an attack."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_advinterp.analyses.influence.analysis import Exemplars
from lightning_advinterp.report.panels import PanelRow, unit_panel


def exemplars_page(
    shown: Sequence[Exemplars], training: Mapping[int, NDArray[np.uint8]], captions: Mapping[int, str], title: str = ""
) -> Figure:
    """Draw each test image, framed, beside its most influential training images; a row before, and one per attack.

    Args:
        shown: test images.
        training: number to image, uint8 ``[H, W, 3]``.
        captions: number of a training image to what stands above it.
        title: above the figure.
    """
    rows = []
    for one in shown:
        before = ("before", one.image, one.before)
        for name, image, strongest in (before, *((name, *found) for name, found in one.after.items())):
            pictures = np.stack([image.numpy(), *(training[number] for number in strongest)])
            stay = [number in one.before for number in strongest]
            text = ["test image", *(captions[number] for number in strongest)]
            framed = (False, *(stay if name != "before" else [False] * len(stay)))
            rows.append(PanelRow(name, pictures, np.ones(pictures.shape[:3], bool), text, framed))
    return unit_panel(rows, f"{title}: most influential training images (framed: as before)")
