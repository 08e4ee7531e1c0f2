"""What an analysis found, as data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lightning_advinterp.core.columns import Column, TableSpec, columns_of

REAL = "real"
"""The image kind of unattacked images; every other kind is an attack's name."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What an analysis found: data that can be saved, merged into a page and redrawn.

    Attributes:
        name: the analysis.
        scalars: for the log, under the names of the log.
        tables: file stem to rows, whose keys are the columns. A missing value is None, once a runner returns them.
        arrays: uint8 images or float maps, by name.
        provenance: settings, seed, hashes and versions.
        columns: table to header to what the question declares of it.
    """

    name: str
    scalars: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, dict[str, Column]] = field(default_factory=dict)


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


def is_missing(value: Any) -> bool:
    """Return whether a value of a table says nothing: None, or a NaN."""
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


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
