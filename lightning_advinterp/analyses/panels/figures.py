"""Panels of what units mean, from their rows of images."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lightning_advinterp.analyses.base.unit_pictures import Pictures
from lightning_advinterp.analyses.semantics.figures import images_told
from lightning_advinterp.core.result import REAL, Row, is_missing
from lightning_advinterp.report.panels import PanelRow, unit_panel


def meaning_panel(units: Sequence[Pictures], title: str = "") -> Figure:
    """Draw units' images with the network's predictions; what it takes for the unit's concept is framed.

    Args:
        units: real images first, then each attack's, unit by unit.
        title: above the figure.
    """
    drawn = []
    for unit in units:
        row = unit.row
        keys = ("lc",) if row["images"] == REAL else ("cs1", "cs2")
        values = ", ".join(f"{key.upper()} {row[key]:.2f}" for key in keys if not is_missing(row[key]))
        head = f"unit {row['unit']}: {row['mode_class'] or 'dead'}" if row["images"] == REAL else row["images"]
        captions = [picture["predicted_name"].split(",")[0][:18] for picture in unit.rows]
        framed = [bool(picture["near_concept"]) for picture in unit.rows] if row["images"] != REAL else []
        drawn.append(PanelRow(f"{head}\n{values}", unit.pictures, unit.masks, captions, framed))
    lines = [title, "above each image: the prediction; framed: it is the unit's class or near it"]
    lines += [_levels(kinds)] if (kinds := {unit.row["images"]: unit.row for unit in units}) else []
    return unit_panel(drawn, "\n".join(lines))


def _levels(kinds: Mapping[str, Row]) -> str:
    """What the rows' LC, CS1 and CS2 are to be held against, from a row of every kind of images."""
    row = next(iter(kinds.values()))
    lines = [f"LC: floor {row['floor']:.2f}, chance {row['chance_lc']:.2f}; {images_told(row)}"]
    for kind, level_row in kinds.items():
        if kind != REAL:
            lines.append(f"{kind}: chance CS1 {level_row['chance_cs1']:.2f}, CS2 {level_row['chance_cs2']:.2f}")
    return "\n".join(lines)
