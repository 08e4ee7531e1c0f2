"""Text files as they are read back: whole, in UTF-8, of the form that was written, or refused in one line."""

import csv
import io
import json
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.names import from_cell

_REMEDY = "write it anew"


def read_text(path: Path, remedy: str = _REMEDY) -> str:
    """Return the text of a file in UTF-8; a byte order mark is no text.

    Args:
        path: the file.
        remedy: what its user can do, for the messages.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if it is no file (a folder, a pipe, a device), or no UTF-8; names the line.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise DamagedFileError(f"{path} is no file but a folder, a pipe or a device; {remedy}.")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DamagedFileError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save it as UTF-8, or {remedy}."
        ) from None


def read_json(path: Path, remedy: str = _REMEDY) -> Any:
    """Return what a JSON file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if it is damaged, if a key stands in it twice, or if it holds numbers that are none.
    """
    try:
        return json.loads(read_text(path, remedy), object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except _FormError as error:
        reason = str(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except DamagedFileError:
        raise
    except ValueError:
        reason = "a number has too many digits"
    raise DamagedFileError(f"{path} is damaged ({reason}); {remedy}.")


def read_rows(path: Path, required: Collection[str] = (), remedy: str = _REMEDY) -> list[dict[str, str]]:
    """Return the rows of a CSV file that this package wrote, by column, its texts as they were.

    Args:
        path: the file.
        required: columns that it must have.
        remedy: what its user can do, for the messages.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if it is damaged, lacks a column, or has no row.
    """
    reader = csv.reader(io.StringIO(read_text(path, remedy), newline=""), strict=True)
    try:
        columns, *lines = [list(map(from_cell, fields)) for fields in reader] or [[]]
    except csv.Error as error:
        raise DamagedFileError(f"{path}, line {reader.line_num}: is not CSV ({error}); {remedy}.") from None
    missing = [name for name in required if name not in columns]
    if missing or len(set(columns)) < len(columns):
        raise DamagedFileError(
            f"{path}: expected the columns {', '.join(required)}, each once, got {columns}; {remedy}."
        )
    for number, fields in enumerate(lines, start=2):
        if len(fields) != len(columns):
            raise DamagedFileError(
                f"{path}, row {number}: expected {len(columns)} fields, got {len(fields)}; {remedy}."
            )
    if not lines:
        raise DamagedFileError(f"{path} has no row; {remedy}.")
    return [dict(zip(columns, fields, strict=True)) for fields in lines]


class _FormError(Exception):
    """What JSON allows and no file of this package has."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise _FormError("a key stands twice in one object")
    return content


def _no_number(text: str) -> Any:
    raise _FormError(f"{text} is no number of JSON")
