"""index.csv: which images a set has, and where their labels lie."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from lightning_advinterp.data.broden.files import INDEX
from lightning_advinterp.data.broden.findings import Findings
from lightning_advinterp.data.broden.tables import TableReader
from lightning_advinterp.data.broden.vocabulary import Vocabulary, whole_number

SPLITS = ("train", "val", "test")
_LEADING = ("image", "split", "ih", "iw", "sh", "sw")
_DRIVE = re.compile(r"[A-Za-z]:")


class Row(NamedTuple):
    """One image.

    Attributes:
        line: of index.csv.
        image: path relative to ``images/``.
        split: ``train``, ``val`` or ``test``.
        size: height and width of the image in pixels, as the table has them.
        cells: for each category what the table has: nothing, label numbers, paths of maps, separated by ``;``.
    """

    line: int
    image: str
    split: str
    size: tuple[int, int]
    cells: tuple[str, ...]


class Index(NamedTuple):
    """All images of a set.

    Attributes:
        rows: in the order of the table.
        label_size: height and width of all maps.
    """

    rows: list[Row]
    label_size: tuple[int, int]


def parse_cell(cell: str) -> tuple[list[int], list[str]]:
    """Split a cell into image-level label numbers and paths of maps, each in their order.

    Broden's own writer leaves a 0 where a label was too rare to get a number, and a number twice where it merged two
    names; the former means nothing and the latter no more than once, so neither is returned.

    Example:
        >>> parse_cell("314;194"), parse_cell("a/b_part_1.png;a/b_part_2.png;7")
        (([314, 194], []), ([7], ['a/b_part_1.png', 'a/b_part_2.png']))
        >>> parse_cell("0;5;5")
        ([5], [])
    """
    numbers: list[int] = []
    paths: list[str] = []
    for value in cell.split(";") if cell else ():
        if (number := whole_number(value)) is None:
            paths.append(value)
        elif number and number not in numbers:
            numbers.append(number)
    return numbers, paths


def path_problem(path: str) -> str | None:
    """Return what forbids a path below ``images/``, None where nothing does.

    Only the text counts: links inside ``images/`` are the user's own and are followed.

    Example:
        >>> path_problem("ade20k/1.jpg"), path_problem("../../secret.png")
        (None, "'../../secret.png' leaves the folder images/")
    """
    if not path:
        return "is empty; expected a path relative to images/"
    if "\0" in path or "\\" in path:
        return f"{path!r} holds a NUL or a backslash; expected a path relative to images/, separated by /"
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or _DRIVE.match(path):
        return f"{path!r} leaves the folder images/"
    if "" in parts or "." in parts:
        return f"{path!r} has an empty part or a '.'; write it without"
    return None


def read_index(reader: TableReader, vocabulary: Vocabulary) -> Index:
    """Read index.csv and look at every file that it names; what is wrong goes to the reader's findings.

    Names and sizes of the files enter the reader's digest. No file is opened.

    Args:
        reader: of the set's folder.
        vocabulary: its categories and labels.
    """
    rows: list[Row] = []
    sizes: dict[tuple[int, int], int] = {}
    if (table := reader.read(INDEX, (*_LEADING, *vocabulary.categories))) is None:
        return Index(rows, (0, 0))
    findings = reader.findings
    for column in table.columns:
        if vocabulary.categories and column not in (*_LEADING, *vocabulary.categories):
            findings.add(INDEX, 1, column, f"is no category of category.csv ({', '.join(vocabulary.categories)})")
    if not table.rows:
        findings.add(INDEX, None, None, "lists no image")
    places, cells_at = table.places(_LEADING), table.places(vocabulary.categories)
    files = _Files(reader)
    lines: dict[str, int] = {}
    for line, fields in table.rows:
        image, split, *numbers = (fields[place] for place in places)
        if image in lines:
            findings.add(INDEX, line, "image", f"{image!r} stands in row {lines[image]} already")
        lines.setdefault(image, line)
        files.look(line, "image", image)
        if split not in SPLITS:
            findings.add(INDEX, line, "split", f"expected one of {', '.join(SPLITS)}, got {split!r}")
        ih, iw, sh, sw = _sizes(findings, line, numbers)
        if sh and sw and sizes.setdefault((sh, sw), line) == line and len(sizes) > 1:
            first = next(iter(sizes))
            shown = f"got {sh} x {sw}, but row {sizes[first]} has {first[0]} x {first[1]}; all maps have one size"
            findings.add(INDEX, line, "sh, sw", shown)
        cells = tuple(fields[place] for place in cells_at)
        for category, cell in zip(vocabulary.categories, cells, strict=True):
            if cell:
                _check_cell(findings, files, vocabulary, line, category, cell)
        rows.append(Row(line, image, split, (ih, iw), cells))
    return Index(rows, next(iter(sizes), (0, 0)))


def map_places(row: Row, categories: tuple[str, ...]) -> Iterator[tuple[int, str, str]]:
    """Yield category number, category name and path of every map of a row."""
    for number, (category, cell) in enumerate(zip(categories, row.cells, strict=True)):
        for path in parse_cell(cell)[1]:
            yield number, category, path


def _sizes(findings: Findings, line: int, fields: list[str]) -> list[int]:
    """Return ih, iw, sh, sw; 0 for what is no size."""
    values = []
    for column, text in zip(_LEADING[2:], fields, strict=True):
        value = whole_number(text) or 0
        if not value:
            findings.add(INDEX, line, column, f"expected a number of pixels from 1, got {text!r}")
        values.append(value)
    return values


def _check_cell(
    findings: Findings, files: "_Files", vocabulary: Vocabulary, line: int, category: str, cell: str
) -> None:
    values = cell.split(";")
    for value in values:
        number = whole_number(value)
        if number is None and not value.lower().endswith(".png"):
            expected = "expected label numbers and paths of .png maps, separated by ';'"
            findings.add(INDEX, line, category, f"{expected}, got {value!r} in {cell!r}")
        elif number is None:
            if values.count(value) > 1:
                findings.add(INDEX, line, category, f"{value!r} stands in the cell twice")
            files.look(line, category, value)
        elif number and vocabulary.concepts and number not in vocabulary.concepts:
            findings.add(INDEX, line, category, f"label {number} is not in label.csv")
        elif number and vocabulary.concepts and category not in vocabulary.allowed[number]:
            categories = ", ".join(sorted(vocabulary.allowed[number]))
            findings.add(
                INDEX, line, category, f"label {number} is no {category} by label.csv, which names {categories} for it"
            )


class _Files:
    """Looks whether files are there, and lets their names and sizes into the digest."""

    def __init__(self, reader: TableReader) -> None:
        self.findings, self.digest = reader.findings, reader.digest
        self.files = reader.files

    def look(self, line: int, column: str, path: str) -> None:
        if problem := path_problem(path):
            self.findings.add(INDEX, line, column, problem)
            return
        try:
            file = self.files.look(path)
        except OSError as error:
            self.findings.add(INDEX, line, column, f"cannot find 'images/{path}' ({error.strerror})")
            return
        if not file.regular:
            self.findings.add(INDEX, line, column, f"'images/{path}' is no file")
        elif not file.size:
            self.findings.add(INDEX, line, column, f"'images/{path}' is empty (0 bytes)")
        self.digest.update(f"{path}\0{file.size}\n".encode(errors="surrogateescape"))
