"""All units of all layers of all networks as one table: what every analysis says of a unit, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_advinterp.core.result import REAL
from lightning_advinterp.report.page.stored import StoredEvaluation, TextRow, number

Unit = tuple[int, str, int]
"""Number of the network, layer, and number of the unit."""

_SOURCES = {
    "dissection": (("label", "concept", False), ("category", "category", False), ("iou", "IoU", True)),
    "dissection_retention": (("kept", "kept", False),),
    "semantics": (("lc", "LC", True), ("cs1", "CS1", True), ("cs2", "CS2", True), ("mode_class", "class", False)),
    "sensitivity": (("sensitivity", "sensitivity", True), ("direction", "direction", False)),
}
"""Table to its columns: header, what the page calls it, and whether it is a number."""

_OF_REAL_IMAGES = ("lc", "mode_class")
"""Rows of attacks repeat these."""


@dataclass
class UnitTable:
    """The columns of the explorer.

    Attributes:
        units: the rows.
        columns: title to ``{"kind", "measure", "number", "values"}``, in order; values are in the order of the units.
    """

    units: list[Unit] = field(default_factory=list)
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)


def unit_table(evaluations: Sequence[StoredEvaluation]) -> UnitTable:
    """Join what the tables of all evaluations say of units.

    Args:
        evaluations: of the page.
    """
    values: dict[str, dict[Unit, Any]] = {}
    described: dict[str, dict[str, Any]] = {}
    units: dict[Unit, None] = {}
    for network, evaluation in enumerate(evaluations):
        for table, columns in _SOURCES.items():
            for row in evaluation.rows(table, "layer", "unit", "images"):
                unit = (network, row["layer"], int(row["unit"]))
                units.setdefault(unit)
                for header, measure, is_number in columns:
                    if row["images"] != REAL and header in _OF_REAL_IMAGES:
                        continue
                    value = number(row, header) if is_number else row.get(header) or None
                    if value is None:
                        continue
                    title = f"{measure}, {row['images']}"
                    described.setdefault(title, {"kind": row["images"], "measure": measure, "number": is_number})
                    values.setdefault(title, {})[unit] = float(f"{value:.4g}") if is_number else value
    order = list(units)
    # Measures stand together, real images first: IoU on real images beside IoU under attack.
    measures = [measure for columns in _SOURCES.values() for _, measure, _ in columns]
    titles = sorted(described, key=lambda title: (described[title]["kind"] != REAL, 0))
    titles.sort(key=lambda title: measures.index(described[title]["measure"]))
    columns_by_title = {
        title: described[title] | {"values": [values[title].get(unit) for unit in order]} for title in titles
    }
    return UnitTable(order, columns_by_title)


def driving_images(
    evaluation: StoredEvaluation, table: str, most: int = 8
) -> dict[str, dict[tuple[str, int], list[int]]]:
    """Return the numbers of the images that drive units most, by kind of images, layer and unit.

    Args:
        evaluation: with the arrays ``<table>_top-<kind>``.
        table: ``semantics`` or ``dissection``, whose rows of a kind are in the arrays' order.
        most: so many images of a unit.
    """
    driving: dict[str, dict[tuple[str, int], list[int]]] = {}
    rows_by_kind: dict[str, list[TextRow]] = {}
    for row in evaluation.rows(table, "layer", "unit", "images"):
        rows_by_kind.setdefault(row["images"], []).append(row)
    for kind, rows in rows_by_kind.items():
        top = evaluation.array(f"{table}_top-{kind}")
        if top is None or len(top) != len(rows):
            continue
        driving[kind] = {
            (row["layer"], int(row["unit"])): [int(image) for image in images[:most] if image >= 0]
            for row, images in zip(rows, top.tolist(), strict=True)
        }
    return driving
