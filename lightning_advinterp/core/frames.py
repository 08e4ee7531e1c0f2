"""Tables of results as notebooks show them: pandas frames, and HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lightning_advinterp.core.columns import Column
from lightning_advinterp.core.names import printable

if TYPE_CHECKING:
    from pandas import DataFrame

_SHOWN = 8
"""Rows of a table that a notebook shows."""


def to_frame(rows: Sequence[Mapping[str, Any]]) -> "DataFrame":
    """Return rows as a frame: a column for each header that any row has, what is missing as pandas has it.

    Args:
        rows: of one table.

    Raises:
        ImportError: if pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise ImportError("Frames need pandas: pip install pandas. The rows themselves are in result.tables.")
    import pandas as pd  # optional, and takes a while

    headers = dict.fromkeys(key for row in rows for key in row)
    return pd.DataFrame([dict(row) for row in rows], columns=list(headers)).convert_dtypes()


def html_of(
    title: str, tables: Mapping[str, Sequence[Mapping[str, Any]]], columns: Mapping[str, Mapping[str, Column]]
) -> str:
    """Return the first rows of tables as HTML; a header tells what it means where the pointer rests on it.

    Args:
        title: above the tables.
        tables: rows by name; those without rows are left out.
        columns: table to header to its declaration.
    """
    parts = [f"<h4>{_text(title)}</h4>"]
    for name, rows in tables.items():
        if rows:
            parts.append(_table(name, rows, columns.get(name, {})))
    return "".join(parts)


def _table(name: str, rows: Sequence[Mapping[str, Any]], declared: Mapping[str, Column]) -> str:
    headers = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f"<th{_meaning(declared.get(header))}>{_text(header)}</th>" for header in headers)
    lines = []
    for row in rows[:_SHOWN]:
        cells = "".join(f"<td>{_text(_shown(row.get(header)))}</td>" for header in headers)
        lines.append(f"<tr>{cells}</tr>")
    more = f", the first {_SHOWN}" if len(rows) > _SHOWN else ""
    caption = f"<caption>{_text(name)}: {len(rows):,} row{'s' * (len(rows) != 1)}{more}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _meaning(column: Column | None) -> str:
    return "" if column is None else f' title="{_text(column.meaning)}"'


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _text(text: str) -> str:
    return escape(printable(text))
