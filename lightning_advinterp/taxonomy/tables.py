"""Hierarchies in files: the one that ships with the package, and the user's own."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from lightning_advinterp.core.reading import read_text
from lightning_advinterp.taxonomy.graph import Distances, Taxonomy

TABLE = "imagenet.csv"

_REMEDY = "write it anew"


@cache
def shipped_taxonomy() -> Taxonomy:
    """Return the nouns above the 1,000 ImageNet classes, CIFAR-10's and the concept world's, of WordNet 3.0.

    It also holds the few further nouns through which the shortest undirected paths between those classes run, so
    that all distances between them equal those in the whole of WordNet. Its licence lies beside the table.
    """
    rows = _rows()
    return Taxonomy({row["wnid"]: tuple(row["parents"].split()) for row in rows}, {r["wnid"]: r["name"] for r in rows})


@cache
def shipped_classes() -> frozenset[str]:
    """Return the wnids of the classes that the shipped table was made for."""
    return frozenset(row["wnid"] for row in _rows() if row["class"] == "1")


@cache
def _rows() -> list[dict[str, str]]:
    text = (resources.files("lightning_advinterp.taxonomy") / TABLE).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def read_parent_links(path: str | Path) -> Taxonomy:
    """Read a user's hierarchy: a CSV with the columns ``child`` and ``parent``, one row per link.

    Parents that are nobody's child are roots; a row with an empty parent names a node without any.

    Raises:
        ValueError: if a column is missing, a row has no child, or links run in a circle.
    """
    path, parents = Path(path), dict[str, list[str]]()
    columns, *lines = _fields(path)
    if columns.count("child") != 1 or columns.count("parent") != 1:
        raise ValueError(f"{path}: expected a CSV with the columns child,parent, got {columns}.")
    places = columns.index("child"), columns.index("parent")
    for number, fields in enumerate(lines, start=2):
        if len(fields) != len(columns) or not fields[places[0]]:
            raise ValueError(
                f"{path}, line {number}: a link needs a child, and {len(columns)} fields as the header, got {fields}."
            )
        child, parent = (fields[place] for place in places)
        above = parents.setdefault(child, [])
        if parent:
            parents.setdefault(parent, [])
            if parent not in above:
                above.append(parent)
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle = " < ".join(error.args[1][:5])
        raise ValueError(f"{path}: the links run in a circle ({circle}); a hierarchy has none.") from None
    return Taxonomy({node: tuple(above) for node, above in parents.items()})


def _fields(path: Path) -> list[list[str]]:
    """Return the fields of all lines of a user's CSV that are not empty, without blanks around them."""
    reader = csv.reader(io.StringIO(read_text(path, _REMEDY), newline=""), skipinitialspace=True)
    try:
        return [[field.strip() for field in fields] for fields in reader if fields] or [[]]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: is not CSV ({error}); {_REMEDY}.") from None


def is_parent_links(path: Path) -> bool:
    """Tell whether a CSV has the columns ``child`` and ``parent``; everything else is a matrix."""
    return {"child", "parent"} <= set(_fields(path)[0])


def read_distances(path: str | Path, classes: list[str]) -> Distances:
    """Read a user's distances between classes.

    Args:
        path: a ``.npy`` file ``[K, K]`` in the order of ``classes``, or a CSV whose header and first column name the
            classes, in any order.
        classes: K names.

    Raises:
        ValueError: if classes are missing, or the numbers are no distances (symmetric, 0 on the diagonal, not
            negative).
    """
    path = Path(path)
    if path.suffix == ".npy":
        return check_distances(_read_array(path, len(classes)), len(classes), str(path), classes)
    columns, *lines = _fields(path)
    for number, row in enumerate(lines, start=2):
        if len(row) > len(columns):  # a comma in a number shifts all that follow
            expected = f"expected {len(columns)} fields as in the header"
            raise ValueError(f"{path}, row {number} ({row[0]!r}): {expected}, got {len(row)}.")
    column, line = _places(path, columns[1:], "columns"), _places(path, [row[0] for row in lines], "rows")
    missing = [name for name in classes if name not in column or name not in line]
    if missing:
        raise ValueError(f"{path}: needs a row and a column for every class, misses {missing[0]!r}.")
    values = np.array([[_number(path, lines[line[a]][1:], column[b], a, b) for b in classes] for a in classes])
    return check_distances(values, len(classes), str(path), classes)


def _places(path: Path, names: list[str], what: str) -> dict[str, int]:
    """Return where each name stands; of two of a name one would be passed over."""
    (name, count), *_ = [*Counter(names).most_common(1), ("", 0)]
    if count > 1:
        raise ValueError(f"{path}: {count} {what} are called {name!r}; every class has one.")
    return {name: place for place, name in enumerate(names)}


def _number(path: Path, row: list[str], column: int, row_name: str, column_name: str) -> float:
    text = row[column] if column < len(row) else ""
    try:
        return float(text.replace("_", "no number"))  # Python reads 1_0 as 10
    except ValueError:
        shown = repr(text[:40]) if text else "nothing"
        raise ValueError(
            f"{path}: the distance of {row_name!r} and {column_name!r} must be a number, got {shown}."
        ) from None


def _read_array(path: Path, count: int) -> Distances:
    """Return the numbers of a ``.npy`` file, which are as many as wanted before one of them is read."""
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no file")
        with path.open("rb") as file:
            shape, _, kind = read_header[np.lib.format.read_magic(file)](file)
        if shape != (count, count) or kind.kind not in "biuf":
            raise ValueError(f"it holds {kind} of shape {shape}")
        values: Distances = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a damaged header provokes: TokenError, SyntaxError, KeyError, EOFError, …
        reason = str(error).splitlines()[0] if isinstance(error, ValueError) and str(error) else "it is damaged"
        raise ValueError(
            f"{path}: expected the distances of {count} classes as a .npy file of real numbers, [{count}, {count}], "
            f"but {reason[:100]}; {_REMEDY}."
        ) from None
    return values


def check_distances(entries: Any, count: int, source: str, classes: Sequence[str] = ()) -> Distances:
    """Refuse a matrix that does not hold distances of ``count`` classes.

    Rounding (1e-9 of the largest) is no asymmetry, and is evened out; infinite distances are some.

    Raises:
        ValueError: naming what is wrong.
    """
    array = np.asarray(entries)
    if array.shape != (count, count):
        raise ValueError(f"{source}: expected distances of {count} classes, [{count}, {count}], got {array.shape}.")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{source}: expected distances as real numbers, got {array.dtype}.")
    values: Distances = array.astype(np.float64)
    finite = values[np.isfinite(values)]
    rounding = 1e-9 * float(np.abs(finite).max(initial=0.0))
    unlike = ~(np.isclose(values, values.T, rtol=0, atol=rounding))
    wrong = np.isnan(values) | (values < -rounding) | unlike | (np.eye(count, dtype=bool) & (np.abs(values) > rounding))
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        names = f"{classes[row]!r} and {classes[column]!r}" if classes else f"classes {row} and {column}"
        raise ValueError(
            f"{source}: distances are symmetric, 0 on the diagonal and never negative; that of {names} is "
            f"{values[row, column]:g} one way and {values[column, row]:g} the other."
        )
    if (values == values.T).all() and (values >= 0).all() and (np.diag(values) == 0).all():
        return values
    even: Distances = np.maximum(values / 2 + values.T / 2, 0)
    np.fill_diagonal(even, 0)
    return even
