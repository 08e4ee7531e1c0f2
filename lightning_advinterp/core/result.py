"""What an analysis found, as data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_advinterp.core.columns import Column, TableSpec, columns_of
from lightning_advinterp.core.frames import html_of, to_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

REAL = "real"
"""The image kind of unattacked images; every other kind is an attack's name."""

Row = dict[str, Any]


@dataclass(frozen=True, repr=False)
class Result:
    """What an analysis found: data that can be saved, merged into a page and redrawn.

    A notebook shows the beginning of its tables.

    Attributes:
        name: the analysis.
        scalars: for the log, under the names of the log.
        tables: file stem to rows, whose keys are the columns. A missing value is None, once a runner returns them.
        arrays: uint8 images or float maps, by name.
        provenance: settings, seed, hashes and versions.
        columns: table to header to what the question declares of it.
        drawing: draws it; None where nobody said how.

    Example:
        >>> result = Result("accuracy", tables={"accuracy": [{"images": "real", "top1": 0.75}]})
        >>> result
        <Result accuracy: accuracy (1 row, 2 columns)>
        >>> result.tables["accuracy"][0]["top1"]
        0.75
    """

    name: str
    scalars: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, dict[str, Column]] = field(default_factory=dict)
    drawing: "Callable[[Result], dict[str, Figure]] | None" = field(default=None, compare=False)

    def figures(self) -> "dict[str, Figure]":
        """Return its figures by name, drawn anew from the tables and arrays.

        Raises:
            ValueError: if nobody said how it is drawn, as of an analysis that a :class:`Runner` ran by itself.
        """
        if self.drawing is None:
            raise ValueError(
                f"{self.name}: a result has figures where evaluate() or load_results() returned it; otherwise "
                "QUESTION.figures(result, title) draws them."
            )
        return self.drawing(self)

    def frame(self, table: str | None = None) -> "DataFrame":
        """Return a table as pandas has them, see :func:`~lightning_advinterp.core.frames.to_frame`.

        Args:
            table: its name; the first one by default.

        Raises:
            ValueError: if there is no such table.
            ImportError: if pandas is not installed.
        """
        if not self.tables or (table is not None and table not in self.tables):
            raise ValueError(f"{self.name}: no table {table!r}; there are {', '.join(self.tables) or 'none'}.")
        return to_frame(self.tables[next(iter(self.tables)) if table is None else table])

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} ({_size(rows)})" for name, rows in self.tables.items())
        return f"<Result {self.name}: {sizes or 'no tables'}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return html_of(self.name, self.tables, self.columns)


def _size(rows: Sequence[Row]) -> str:
    columns = dict.fromkeys(key for row in rows for key in row)
    return f"{len(rows)} row{'s' * (len(rows) != 1)}, {len(columns)} column{'s' * (len(columns) != 1)}"


def joined(name: str, results: Sequence[Result]) -> Result:
    """Return the tables, arrays and scalars of several analyses as one result."""
    union = Result(name)
    for result in results:
        union.scalars.update(result.scalars)
        union.tables.update(result.tables)
        union.arrays.update(result.arrays)
        union.provenance.update(result.provenance)
        union.columns.update(result.columns)
    return union


_FLOATS = (float, np.floating)
"""A tuple: a table has hundreds of thousands of values, and ``float | np.floating`` is made anew for each."""


def is_missing(value: Any) -> bool:
    """Return whether a value of a table says nothing: None, or a NaN."""
    return value is None or (isinstance(value, _FLOATS) and math.isnan(value))


def without_nan(result: Result) -> Result:
    """Return a result in whose tables what is missing is None."""
    tables = {
        name: [{key: None if is_missing(value) else value for key, value in row.items()} for row in rows]
        for name, rows in result.tables.items()
    }
    return replace(result, tables=tables)


def described(result: Result, tables: Sequence[TableSpec], beside: Sequence[Column] = ()) -> Result:
    """Return a result whose columns are those that a question declares.

    Args:
        result: of one of its analyses.
        tables: what it declares.
        beside: columns that any table may have.
    """
    declared = {table.name: table.columns for table in tables}
    columns = {name: columns_of(rows, (*declared.get(name, ()), *beside)) for name, rows in result.tables.items()}
    return replace(result, columns=columns)
