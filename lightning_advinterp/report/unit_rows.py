"""Panels of what units mean, from their rows of images."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lightning_advinterp.analyses.analysis import REAL, Row
from lightning_advinterp.analyses.panels import UnitRow
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
    lines += [_levels(rows[0].row)] if rows else []
    return unit_panel(drawn, "\n".join(lines))


def _levels(row: Row) -> str:
    """What the row's LC is to be held against."""
    return (
        f"LC: floor {row['floor']:.2f}, chance {row['chance_lc']:.2f}; {row['images_per_class']:.3g} images per class"
    )


def _is_number(value: float | None) -> bool:
    return value is not None and value == value
