"""Hierarchies in files: the one that ships with the package, and the user's own."""

import csv
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from lightning_advinterp.taxonomy.graph import Distances, Taxonomy

TABLE = "imagenet.csv"


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
    parents: dict[str, list[str]] = {}
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        if not {"child", "parent"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path}: expected a CSV with the columns child,parent, got {reader.fieldnames}.")
        for row in reader:
            child, parent = (row["child"] or "").strip(), (row["parent"] or "").strip()
            if not child:
                raise ValueError(f"{path}, line {reader.line_num}: a link needs a child, got {row}.")
            above = parents.setdefault(child, [])
            if parent:
                parents.setdefault(parent, [])
                if parent not in above:
                    above.append(parent)
    taxonomy = Taxonomy({node: tuple(above) for node, above in parents.items()})
    for node, above in parents.items():
        if any(node in taxonomy.heights(parent) for parent in above):
            raise ValueError(f"{path}: the links above {node!r} run in a circle; a hierarchy has none.")
    return taxonomy


def is_parent_links(path: Path) -> bool:
    """Tell whether a CSV has the columns ``child`` and ``parent``; everything else is a matrix."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return {"child", "parent"} <= {name.strip() for name in next(csv.reader(file, skipinitialspace=True), [])}


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
        return check_distances(np.load(path, allow_pickle=False), len(classes), str(path))
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    column = {name.strip(): place for place, name in enumerate(rows[0] if rows else [])}
    line = {row[0].strip(): row for row in rows[1:]}
    missing = [name for name in classes if name not in column or name not in line]
    if missing:
        raise ValueError(f"{path}: needs a row and a column for every class, misses {missing[0]!r}.")
    values = np.array([[_number(path, line[a], column[b], a, b) for b in classes] for a in classes])
    return check_distances(values, len(classes), str(path))


def _number(path: Path, row: list[str], column: int, one: str, other: str) -> float:
    try:
        return float(row[column])
    except (IndexError, ValueError):
        found = repr(row[column]) if column < len(row) else "nothing"
        raise ValueError(f"{path}: the distance of {one!r} and {other!r} must be a number, got {found}.") from None


def check_distances(values: Distances, count: int, source: str) -> Distances:
    """Refuse a matrix that does not hold distances of ``count`` classes.

    Raises:
        ValueError: naming what is wrong.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (count, count):
        raise ValueError(f"{source}: expected distances of {count} classes, [{count}, {count}], got {values.shape}.")
    if not ((values >= 0).all() and (values == values.T).all() and (np.diag(values) == 0).all()):
        raise ValueError(f"{source}: distances are symmetric, 0 on the diagonal and never negative; these are not.")
    return values
