"""Panels of what units mean, from their rows of images."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lightning_advinterp.analyses.panels.analysis import UnitRow
from lightning_advinterp.analyses.semantics.figures import images_told
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.report.panels import PanelRow, unit_panel


def meaning_panel(rows: Sequence[UnitRow], names: Sequence[str], title: str = "") -> Figure:
    """Draw units' images with the network's predictions; what it takes for the unit's concept is framed.

    Args:
        rows: real images first, then each attack's, unit by unit.
        names: of the network's outputs; empty for their numbers.
        title: above the figure.
    """
    drawn = []
    for one in rows:
        row = one.row
        keys = ("lc",) if row["images"] == REAL else ("cs1", "cs2")
        values = ", ".join(f"{key.upper()} {row[key]:.2f}" for key in keys if _is_number(row[key]))
        head = f"unit {row['unit']}: {row['mode_class'] or 'dead'}" if row["images"] == REAL else row["images"]
        captions = [names[label] if label < len(names) else str(label) for label in one.pictures.predicted]
        short = [caption.split(",")[0][:18] for caption in captions]
        drawn.append(PanelRow(f"{head}\n{values}", one.pictures.pictures, one.pictures.masks, short, one.matching))
    lines = [title, "above each image: the prediction; framed: it is the unit's class or near it"]
    lines += [_levels(kinds)] if (kinds := {one.row["images"]: one.row for one in rows}) else []
    return unit_panel(drawn, "\n".join(lines))


def _levels(kinds: Mapping[str, Row]) -> str:
    """What the rows' LC, CS1 and CS2 are to be held against, from a row of every kind of images."""
    row = next(iter(kinds.values()))
    told = [f"LC: floor {row['floor']:.2f}, chance {row['chance_lc']:.2f}; {images_told(row)}"]
    for kind, one in kinds.items():
        if kind != REAL:
            told.append(f"{kind}: chance CS1 {one['chance_cs1']:.2f}, CS2 {one['chance_cs2']:.2f}")
    return "\n".join(told)


def _is_number(value: float | None) -> bool:
    return value is not None and value == value
