"""CSV tables of a set: read whole, with a finding instead of an exception for whatever is wrong with them."""

import csv
import hashlib
import io
from collections.abc import Sequence

from lightning_advinterp.data.broden.files import SetFiles
from lightning_advinterp.data.broden.findings import Findings


class Table:
    """The rows of one CSV file that have the right number of fields.

    Attributes:
        name: the file's name.
        columns: the header.
        rows: line number and fields of each row; the header is line 1.
    """

    def __init__(self, name: str, columns: list[str], rows: list[tuple[int, list[str]]]) -> None:
        self.name, self.columns, self.rows = name, columns, rows

    def places(self, columns: Sequence[str]) -> list[int]:
        """Return where the named columns stand."""
        return [self.columns.index(column) for column in columns]


class TableReader:
    """Reads the tables of a folder and hashes their bytes on the way.

    Args:
        files: of the set.
        findings: receives what is wrong.

    Attributes:
        digest: SHA-256 of names and bytes of the tables read so far.
    """

    def __init__(self, files: SetFiles, findings: Findings) -> None:
        self.files, self.findings = files, findings
        self.digest = hashlib.sha256()

    def read(self, name: str, required: Sequence[str]) -> Table | None:
        """Read one table; None, with a finding, where it is missing, not CSV, or lacks a required column.

        Args:
            name: of the file.
            required: columns that it must have.
        """
        try:
            data = self.files.table(name)
        except OSError as error:
            self.findings.add(name, None, None, f"cannot be read ({error.strerror}); every set has this table")
            return None
        self.digest.update(f"{name}\0{len(data)}\0".encode() + data)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            row = data[: error.start].count(b"\n") + 1
            self.findings.add(name, row, None, f"byte 0x{data[error.start]:02x} is not UTF-8; save the table as UTF-8")
            return None
        return self._parse(name, text, required)

    def _parse(self, name: str, text: str, required: Sequence[str]) -> Table | None:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows: list[tuple[int, list[str]]] = []
        try:
            columns = next(reader, [])
            for fields in reader:
                if len(fields) == len(columns):
                    rows.append((reader.line_num, fields))
                elif fields:  # an empty line is no row
                    expected = f"expected {len(columns)} fields as in the header, got {len(fields)}"
                    self.findings.add(name, reader.line_num, None, expected)
        except csv.Error as error:
            self.findings.add(name, reader.line_num, None, f"is not CSV: {error}")
            return None
        if not columns:
            self.findings.add(name, 1, None, f"is empty; expected a header with {', '.join(required)}")
            return None
        for column in sorted({column for column in columns if columns.count(column) > 1}):
            self.findings.add(name, 1, column, "stands in the header twice")
        missing = [column for column in required if column not in columns]
        for column in missing:
            self.findings.add(name, 1, column, f"is missing; the header has {', '.join(columns)}")
        return None if missing else Table(name, columns, rows)
