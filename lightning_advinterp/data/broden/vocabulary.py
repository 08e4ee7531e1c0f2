"""The concepts of a set: category.csv, label.csv and the tables c_<category>.csv."""

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from lightning_advinterp.data.broden.tables import TableReader

LARGEST = 255 + 256 * 255
"""Largest label number that a map can hold, as red + 256 · green."""

_MENTION = re.compile(r"(?P<name>[^();]+)\((?P<count>\d+)\)")
_WHOLE = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Concept:
    """A row of label.csv.

    Attributes:
        number: of the label, in maps and as image-level label.
        name: colour names end in ``-c``, scene names in ``-s``.
        category: number of its primary category, in which alone it is scored: the one in which it covers most pixels
            according to the tables c_<category>.csv; of several, the last in the order of category.csv (the rule of
            NetDissect's ``primary_categories_per_index``; for 17 of the 173 labels of Broden 1.0 that have several
            categories, it is not the one that label.csv names first).
    """

    number: int
    name: str
    category: int


@dataclass(frozen=True)
class Vocabulary:
    """What the labels of a set mean.

    Attributes:
        categories: names, in the order of category.csv.
        concepts: by label number.
        allowed: label number to the categories in which it may occur, as label.csv names them; all, where what it names
            is a finding already.
    """

    categories: tuple[str, ...]
    concepts: dict[int, Concept]
    allowed: dict[int, frozenset[str]]


def read_vocabulary(reader: TableReader) -> Vocabulary:
    """Read the three kinds of tables; what is wrong goes to the reader's findings.

    Args:
        reader: of the set's folder.
    """
    categories = _read_categories(reader)
    coverage = {name: _read_coverage(reader, name) for name in categories}
    concepts: dict[int, Concept] = {}
    allowed: dict[int, frozenset[str]] = {}
    if (table := reader.read("label.csv", ("number", "name", "category"))) is None:
        return Vocabulary(categories, concepts, allowed)
    if not table.rows:
        reader.findings.add(table.name, None, None, "lists no label")
    lines: dict[int, int] = {}
    for line, fields in table.rows:
        text, name, mentions = (fields[place] for place in table.places(("number", "name", "category")))
        number = whole_number(text)
        if number is None or not 1 <= number <= LARGEST:
            expected = f"expected a label number from 1 to {LARGEST}, got {text!r}"
            reader.findings.add(table.name, line, "number", expected)
            continue
        if number in lines:
            also = f"label {number} stands in row {lines[number]} already; label numbers must be unique"
            reader.findings.add(table.name, line, "number", also)
            continue
        lines[number] = line
        if not name:
            reader.findings.add(table.name, line, "name", f"label {number} has no name")
        names, sound = _own_categories(reader, categories, line, mentions)
        allowed[number] = frozenset(names if sound else categories)
        covered = []
        for category in names:
            rows = coverage[category]
            if rows and number not in rows:  # a table that is missing or empty altogether is one finding
                lacking = f"names {category!r}, but c_{category}.csv does not list label {number}"
                reader.findings.add(table.name, line, "category", lacking)
            covered.append((rows[number].images if rows and number in rows else 0.0, categories.index(category)))
        concepts[number] = Concept(number, name, max(covered, default=(0.0, 0))[1])
    vocabulary = Vocabulary(categories, concepts, allowed)
    if concepts:  # else one finding says so already
        _check_names(reader, vocabulary, lines)
        for name, rows in coverage.items():
            _check_coverage(reader, vocabulary, name, rows)
    return vocabulary


def _check_names(reader: TableReader, vocabulary: Vocabulary, lines: dict[int, int]) -> None:
    """One name in two categories may be two labels, as the concept world has them; in one category it may not."""
    first: dict[tuple[str, str], int] = {}
    for number, concept in vocabulary.concepts.items():
        for category in sorted(vocabulary.allowed[number]) if concept.name else ():
            earlier = first.setdefault((category, concept.name), number)
            if earlier != number:
                also = f"{concept.name!r} is label {earlier} of {category!r} in row {lines[earlier]} already"
                reader.findings.add("label.csv", lines[number], "name", f"{also}; give label {number} another name")
                break


def _check_coverage(
    reader: TableReader, vocabulary: Vocabulary, category: str, rows: dict[int, "_Coverage"] | None
) -> None:
    """Hold a table c_<category>.csv against label.csv."""
    named = [number for number, categories in vocabulary.allowed.items() if category in categories]
    if rows == {} and named:
        lacking = f"lists no label, but label.csv names {category!r} for label {named[0]}"
        reader.findings.add(f"c_{category}.csv", None, None, lacking)
    for number, row in (rows or {}).items():
        if number not in vocabulary.allowed:
            problem = f"label {number} is not in label.csv"
        elif category not in vocabulary.allowed[number]:
            problem = f"label {number} is listed, but label.csv does not name {category!r} for it"
        else:
            continue
        reader.findings.add(f"c_{category}.csv", row.line, "number", problem)


def whole_number(text: str) -> int | None:
    """Return the number that a field of plain digits stands for, None for any other field.

    Example:
        >>> whole_number("12"), whole_number("12.0"), whole_number("-1"), whole_number("")
        (12, None, None, None)
    """
    return int(text) if _WHOLE.fullmatch(text) and len(text) < 10 else None


def _read_categories(reader: TableReader) -> tuple[str, ...]:
    if (table := reader.read("category.csv", ("name",))) is None:
        return ()
    (place,) = table.places(("name",))
    names: dict[str, int] = {}
    for line, fields in table.rows:
        name = fields[place]
        if not re.fullmatch(r"[\w-]+", name):
            expected = f"expected a name of letters, digits, - and _, got {name!r}"
            reader.findings.add(table.name, line, "name", expected)
        elif name in names:
            reader.findings.add(table.name, line, "name", f"{name!r} stands in row {names[name]} already")
        else:
            names[name] = line
    if not table.rows:
        reader.findings.add(table.name, None, None, "lists no category")
    return tuple(names)


class _Coverage(NamedTuple):
    """A row of c_<category>.csv: its line, and the pixels that the label covers, in images."""

    line: int
    images: float


def _read_coverage(reader: TableReader, category: str) -> dict[int, _Coverage] | None:
    """Return how much each label covers as this category, by its number; None where there is no such table."""
    coverage: dict[int, _Coverage] = {}
    if (table := reader.read(f"c_{category}.csv", ("code", "number", "name", "frequency", "coverage"))) is None:
        return None
    for line, fields in table.rows:
        text, images = (fields[place] for place in table.places(("number", "coverage")))
        number = whole_number(text)
        if number is None:
            reader.findings.add(table.name, line, "number", f"expected a label number, got {text!r}")
            continue
        if number in coverage:
            also = f"label {number} stands in row {coverage[number].line} already"
            reader.findings.add(table.name, line, "number", also)
        value = _share(images)
        if value is None:
            reader.findings.add(table.name, line, "coverage", f"expected a number of images, got {images!r}")
        coverage[number] = _Coverage(line, value or 0.0)
    return coverage


def _share(text: str) -> float | None:
    """Return the number from 0 that a field stands for, None for any other field."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _own_categories(
    reader: TableReader, categories: tuple[str, ...], line: int, mentions: str
) -> tuple[list[str], bool]:
    """Return the categories of a cell such as ``material(36);object(3)``, and whether nothing is wrong with it."""
    names: list[str] = []
    values = mentions.split(";")
    for mention in values:
        if (match := _MENTION.fullmatch(mention)) is None:
            expected = f"expected category(images), several separated by ';', got {mentions!r}"
            reader.findings.add("label.csv", line, "category", expected)
        elif match["name"] not in categories:
            listed = ", ".join(categories) or "none"
            reader.findings.add("label.csv", line, "category", f"{match['name']!r} is not in category.csv ({listed})")
        else:
            names.append(match["name"])
    return names, len(names) == len(values)
