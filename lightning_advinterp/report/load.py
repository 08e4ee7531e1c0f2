"""Stored results, read back as they were: what figures draw from can be had from the folder alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_advinterp.core.columns import Column
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.names import file_name
from lightning_advinterp.core.reading import read_rows
from lightning_advinterp.core.result import Result, Row, is_missing, joined
from lightning_advinterp.report.store import RECORD, differing, read_record

_REMEDY = "evaluate anew"


def listed(result: Result) -> dict[str, Any]:
    """Return what the record of a folder says of a result: its tables with their columns, and its arrays.

    Of every column it says the kind of its values, and what the question declares: meaning, unit and format.
    """
    return {
        "tables": {name: _columns(rows, result.columns.get(name, {})) for name, rows in result.tables.items()},
        "arrays": {name: "image" if array.dtype == np.uint8 else "values" for name, array in result.arrays.items()},
    }


def _columns(rows: Sequence[Row], declared: Mapping[str, Column]) -> dict[str, dict[str, str]]:
    columns = {name: {"kind": kind} for name, kind in _kinds(rows).items()}
    for name, column in declared.items():
        columns[name] |= {key: getattr(column, key) for key in ("meaning", "unit", "format")}
    return columns


def _kinds(rows: Sequence[Row]) -> dict[str, str]:
    """Return every column's kind: ``truth``, ``integer``, ``number`` or ``text``; ``missing`` where no row has it."""
    kinds: dict[str, str] = {}
    for row in rows:
        for column, value in row.items():
            kind = _kind(value)
            before = kinds.get(column, "missing")
            if before == "missing" or kind == before:
                kinds[column] = kind
            elif kind != "missing":
                kinds[column] = "number" if {kind, before} == {"integer", "number"} else "text"
    return kinds


_TRUTHS, _INTEGERS, _NUMBERS = (bool, np.bool_), (int, np.integer), (float, np.floating)


def _kind(value: Any) -> str:
    if is_missing(value):
        return "missing"
    if isinstance(value, _TRUTHS):
        return "truth"
    if isinstance(value, _INTEGERS):
        return "integer"
    return "number" if isinstance(value, _NUMBERS) else "text"


def read_results(folder: str | Path) -> dict[str, Result]:
    """Return what an evaluation wrote, by question: tables, scalars and arrays, for figures and further work.

    Numbers have the digits of the CSV files: six, where a column declares nothing else. A missing value is None.

    Args:
        folder: ``--output`` of an evaluation, or the folder of one of its networks below it.

    Raises:
        FileNotFoundError: if the folder holds no evaluation.
        DamagedFileError: if it was written by a version that did not list its results, or if a file is missing or is
            not what was written.
    """
    place = Path(folder)
    record = readable_record(place)
    results = {name: _load(place, name, record) for name in record["results"]}
    return {
        question: joined(question, [results[name] for name in entry["results"] if name in results])
        for question, entry in record["analyses"].items()
    }


def readable_record(folder: Path) -> dict[str, Any]:
    """Return the record of a folder whose results can be read back; errors are those of :func:`read_results`.

    Args:
        folder: of the evaluation of one network.
    """
    record = read_record(folder)
    if record is None:
        raise FileNotFoundError(f"{folder}: there is no evaluation here ({RECORD} is missing).")
    if not record:
        raise DamagedFileError(f"{folder / RECORD} is not what was written; {_REMEDY}.")
    if "results" not in record or "analyses" not in record:
        raise DamagedFileError(f"{folder / RECORD} lists no results: an earlier version wrote it; {_REMEDY}.")
    changed = differing(folder, record)
    if changed:
        raise DamagedFileError(f"{folder}: {', '.join(changed)} is missing or is not what was written; {_REMEDY}.")
    return record


def _load(folder: Path, name: str, record: Mapping[str, Any]) -> Result:
    stored = record["results"][name]
    listed_columns: Mapping[str, Mapping[str, Any]] = stored["tables"]
    scalars = {key: float("nan") if value is None else value for key, value in record["scalars"].get(name, {}).items()}
    tables = {table: _rows(folder, table, columns) for table, columns in listed_columns.items()}
    declared = {table: _declared(columns) for table, columns in listed_columns.items()}
    arrays = {key: _array(folder, key, kind) for key, kind in stored["arrays"].items()}
    return Result(name, scalars, tables, arrays, record["provenance"].get("analyses", {}).get(name, {}), declared)


def _declared(columns: Mapping[str, Any]) -> dict[str, Column]:
    """Return the columns of which a record says more than their kind."""
    return {
        name: Column(name, entry["meaning"], entry["unit"], entry["format"])
        for name, entry in columns.items()
        if "meaning" in entry
    }


def _rows(folder: Path, table: str, columns: Mapping[str, Any]) -> list[Row]:
    if not columns:
        return []
    # A record of the version before has the kind alone.
    kinds = {name: entry if isinstance(entry, str) else entry["kind"] for name, entry in columns.items()}
    rows = read_rows(folder / f"{file_name(table)}.csv", kinds, _REMEDY)
    return [{column: _value(row[column], kind) for column, kind in kinds.items()} for row in rows]


def _value(text: str, kind: str) -> Any:
    if text == "" or kind == "missing":
        return None
    if kind == "truth":
        return text == "true"
    if kind == "integer":
        return int(text)
    return float(text) if kind == "number" else text


def _array(folder: Path, key: str, kind: str) -> NDArray[Any]:
    if kind == "image":
        with Image.open(folder / "images" / f"{file_name(key)}.png", formats=["PNG"]) as image:
            return np.asarray(image)
    with np.load(folder / "arrays" / f"{file_name(key)}.npz", allow_pickle=False) as stored:
        values: NDArray[Any] = stored["values"]
        return values
