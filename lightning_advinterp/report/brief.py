"""What a result says first, for the terminal: a few columns of the rows that matter most."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lightning_advinterp.core.result import Row, is_missing
from lightning_advinterp.report.table import radius


def brief_table(rows: Sequence[Row], columns: Sequence[str], title: str = "") -> Table:
    """Print some columns of some rows, numbers to three digits; a missing value is a dash.

    Args:
        rows: of one table.
        columns: their keys, in order.
        title: above the table.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        words = any(isinstance(row.get(column), str) for row in rows)
        # Blanks let long names stand in two lines; a narrow terminal cuts nothing off.
        table.add_column(column.replace("_", " "), justify="left" if words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_text(row, column) for column in columns))
    return table


def _text(row: Row, column: str) -> str:
    value: Any = row.get(column)
    if is_missing(value):
        return "–"
    if column == "eps":
        return radius(value, row.get("norm"), row.get("eps_low"))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
