"""What the columns of a result's tables mean: declared once, stored beside the tables, read back with them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

NUMBERS = ".6g"
"""How numbers are written where a column does not say it."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its header. A part in braces stands for any text: ``{category}_iou``.
        meaning: what a value says, in a few words.
        unit: of its numbers, such as ``share`` (a fraction in [0, 1]), ``images`` or ``px``; empty for none.
        format: how its numbers are written into CSV files.
        when: when the table has it; empty: always.
    """

    name: str
    meaning: str
    unit: str = ""
    format: str = NUMBERS
    when: str = ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(self.name)), re.DOTALL)

    def names(self, header: str) -> bool:
        """Return whether a header is this column's."""
        return self._pattern.fullmatch(header) is not None


@dataclass(frozen=True)
class TableSpec:
    """A table of a result, and its columns.

    Attributes:
        name: of the table, and of its CSV file.
        row: what a row stands for.
        columns: in the order in which a header is looked for; a name with braces comes after those it would take in.
        when: when there is such a table; empty: always.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    when: str = ""


def columns_of(rows: Iterable[Mapping[str, Any]], declared: Sequence[Column]) -> dict[str, Column]:
    """Return the declared column of every header that any row has, under its full name.

    Args:
        rows: of one table.
        declared: its columns; the first one that takes a header in is the header's.
    """
    columns: dict[str, Column] = {}
    for header in dict.fromkeys(key for row in rows for key in row):
        for column in declared:
            if column.names(header):
                columns[header] = replace(column, name=header)
                break
    return columns


def spread_columns(name: str, what: str, unit: str = "", when: str = "") -> tuple[Column, ...]:
    """Return the five columns of a median: itself, its 10 and 90 % quantiles, and its 95 % interval."""
    return (
        Column(name, f"median of {what}", unit, when=when),
        Column(f"{name}_q10", "10 % quantile of the same", unit, when=when),
        Column(f"{name}_q90", "90 % quantile", unit, when=when),
        *interval_columns(name, unit, when=when),
    )


def share_columns(name: str, meaning: str, when: str = "") -> tuple[Column, ...]:
    """Return the three columns of a share: itself and its 95 % interval."""
    return (Column(name, meaning, "share", when=when), *interval_columns(name, when=when))


def interval_columns(name: str, unit: str = "share", when: str = "") -> tuple[Column, Column]:
    """Return the two columns of a 95 % interval."""
    return (
        Column(f"{name}_low", f"lower end of the 95 % interval of `{name}`", unit, when=when),
        Column(f"{name}_high", "its upper end", unit, when=when),
    )
