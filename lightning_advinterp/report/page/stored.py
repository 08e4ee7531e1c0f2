"""An evaluation as it lies on disk, for its page: tables as text, arrays, figures and the record."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.names import file_name, from_cell
from lightning_advinterp.report.store import RECORD, differing, read_record

TextRow = dict[str, str]
"""A row of a CSV file; a missing value is an empty text."""


@dataclass(frozen=True)
class StoredEvaluation:
    """One network's evaluation.

    Attributes:
        title: what the network is called on the page.
        record: what ``results.json`` says, or will say.
        locate: from a file's name in the record to where it lies.
        prefix: of relative links to its files, such as ``compare/``.
    """

    title: str
    record: Mapping[str, Any]
    locate: Callable[[str], Path]
    prefix: str = ""

    @cached_property
    def _tables(self) -> dict[str, list[TextRow]]:
        return {}

    @property
    def files(self) -> list[str]:
        """Names of all files, in the record's order."""
        return list(self.record.get("files") or ())

    @property
    def tables(self) -> list[str]:
        """Names of the tables' files, without their ending."""
        return [name.removesuffix(".csv") for name in self.files if name.endswith(".csv") and "/" not in name]

    @property
    def figures(self) -> list[str]:
        """Names of the figures."""
        return [
            name.removeprefix("figures/").removesuffix(".png")
            for name in self.files
            if name.startswith("figures/") and name.endswith(".png")
        ]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the evaluation; empty where the record says none."""
        settings = (self.record.get("provenance") or {}).get("settings")
        return settings if isinstance(settings, Mapping) else {}

    def rows(self, table: str, *columns: str) -> list[TextRow]:
        """Return the rows of a table; none where it is absent or lacks one of the columns."""
        if table not in self._tables:
            name = f"{file_name(table)}.csv"
            self._tables[table] = _read(self.locate(name)) if name in self.files else []
        rows = self._tables[table]
        return rows if rows and all(column in rows[0] for column in columns) else []

    def array(self, key: str) -> NDArray[Any] | None:
        """Return an array of values; None where there is none of this name."""
        name = f"arrays/{file_name(key)}.npz"
        if name not in self.files:
            return None
        with np.load(self.locate(name), allow_pickle=False) as stored:
            values: NDArray[Any] = stored["values"]
            return values

    def image(self, key: str) -> Path | None:
        """Return where a stored image lies; None where there is none of this name."""
        name = f"images/{file_name(key)}.png"
        return self.locate(name) if name in self.files else None


def _read(path: Path) -> list[TextRow]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    columns = [from_cell(column) for column in header]
    return [dict(zip(columns, map(from_cell, line), strict=True)) for line in lines]


def number(row: Mapping[str, str], column: str) -> float | None:
    """Return a number of a row; None where it is missing, is no number, or is not finite."""
    try:
        value = float(row.get(column) or "nan")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def network_title(record: Mapping[str, Any], default: str) -> str:
    """Return what the evaluated network is called: its checkpoint's path, or its name."""
    settings = (record.get("provenance") or {}).get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    for key in ("checkpoint", "network"):
        value = settings.get(key)
        if isinstance(value, str) and value:
            return value
    return default


def read_evaluations(folder: Path, prefix: str = "") -> list[StoredEvaluation]:
    """Return the evaluation of a folder, and those of the folders below that its record lists.

    Args:
        folder: of an evaluation, or of a table of several.
        prefix: of links from the page to the folder.

    Raises:
        FileNotFoundError: if the folder holds no evaluation.
        DamagedFileError: if its record or a file is not what was written.
    """
    record = read_record(folder)
    if record is None:
        raise FileNotFoundError(f"{folder}: there is no evaluation here ({RECORD} is missing).")
    if not record or "files" not in record:
        raise DamagedFileError(f"{folder / RECORD} is not what was written; evaluate anew.")
    changed = [name for name in differing(folder, record) if name != "index.html"]  # which is about to be replaced
    if changed:
        raise DamagedFileError(f"{folder}: {', '.join(changed)} is missing or is not what was written; evaluate anew.")
    evaluations = []
    if "scalars" in record:  # the record of a table of networks has none
        title = network_title(record, folder.absolute().name)
        evaluations.append(StoredEvaluation(title, record, lambda name: folder / name, prefix))
    for name in record.get("folders") or ():
        if isinstance(name, str) and Path(name).name == name and (folder / name / RECORD).is_file():
            evaluations += read_evaluations(folder / name, f"{prefix}{name}/")
    return evaluations


def told_apart(evaluations: list[StoredEvaluation]) -> list[StoredEvaluation]:
    """Return evaluations whose titles differ: a title that stands twice gets its number."""
    counts: dict[str, int] = {}
    titled = []
    for evaluation in evaluations:
        counts[evaluation.title] = counts.get(evaluation.title, 0) + 1
        count = counts[evaluation.title]
        title = evaluation.title if count == 1 else f"{evaluation.title} ({count})"
        titled.append(StoredEvaluation(title, evaluation.record, evaluation.locate, evaluation.prefix))
    return titled
