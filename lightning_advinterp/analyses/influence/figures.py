"""The page of exemplars: which training images count most, before and after an attack."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.report.panels import PanelRow, unit_panel


def exemplars_page(result: Result, title: str = "") -> Figure:
    """Draw each test image beside its most influential training images; a row before, and one per attack.

    Args:
        result: with the table ``influence_exemplars`` and its arrays.
        title: above the figure.
    """
    groups: dict[tuple[Any, str], list[Row]] = {}
    for row in result.tables["influence_exemplars"]:
        groups.setdefault((row["image"], row["attack"]), []).append(row)
    panels = []
    for (_, attack), rows in groups.items():
        keys = [rows[0]["picture"], *(row["training_picture"] for row in rows)]
        pictures = np.stack([result.arrays[key] for key in keys])
        captions = ["test image"]
        captions += [f"{row['training_name']}{', chosen' if row.get('raised') else ''}" for row in rows]
        framed = (False, *(bool(row["stays"]) for row in rows))
        panels.append(PanelRow(attack, pictures, np.ones(pictures.shape[:3], bool), captions, framed))
    return unit_panel(panels, f"{title}: most influential training images (framed: as before)")
