"""``metrics.csv``: every number of a run, by step, also of a run that was interrupted and goes on."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from lightning_advinterp.core.files import write_text
from lightning_advinterp.core.names import cell, from_cell

_FIRST = ("step", "epoch")
"""Columns that stand before the others, which are sorted."""


class MetricsFile:
    """A CSV file with a row for everything that was logged at once; a key that comes later gets a column.

    Rows that the file holds already stay. A row has values of what was logged together: of a training step, of a
    validation, or of an epoch's end.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, str]] = []
        self._columns, _ = self._stored()

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Note a row, which :meth:`save` writes."""
        values = {key: value.item() if isinstance(value, Tensor) else value for key, value in metrics.items()}
        self._rows.append({key: str(value) for key, value in ({"step": step} | values).items()})

    def save(self) -> None:
        """Write what was noted: at the file's end, or anew where there is another column."""
        keys = dict.fromkeys(key for row in self._rows for key in row)
        if not keys:
            return
        if set(keys) <= set(self._columns):
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_lines(self._rows, self._columns))
        else:
            columns, rows = self._stored()
            self._write([*columns, *(key for key in keys if key not in columns)], [*rows, *self._rows])
        self._rows = []

    def forget_from(self, step: int) -> None:
        """Remove the rows of this step and later ones: a run that goes on there logs them again."""
        columns, rows = self._stored()
        if columns:
            self._write(columns, [row for row in rows if row["step"].isdigit() and int(row["step"]) < step])

    def _stored(self) -> tuple[list[str], list[dict[str, str]]]:
        """Return columns and rows of the file; a last line that a killed process did not finish is left out."""
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        header, *lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))) or [[]]
        columns = [from_cell(column) for column in header]
        if "step" not in columns:  # no file of this class
            return [], []
        return columns, [dict(zip(columns, line, strict=True)) for line in lines if len(line) == len(columns)]

    def _write(self, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
        ordered = [key for key in _FIRST if key in columns] + sorted(set(columns) - set(_FIRST))
        write_text(self.path, _lines([{key: cell(key) for key in ordered}, *rows], ordered))
        self._columns = ordered


def _lines(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([[row.get(key, "") for key in columns] for row in rows])
    return buffer.getvalue()


class RunCSVLogger(CSVLogger):
    """Lightning's CSV logger for a run's folder: what an earlier start of the run logged stays in ``metrics.csv``.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.parent, name=folder.name, version="")
        self._file: MetricsFile | None = None

    @property
    def path(self) -> Path:
        """The file of the numbers."""
        return Path(self.log_dir) / "metrics.csv"

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsFile:  # Lightning's own deletes what it finds
        """The file, opened at its first use."""
        if self._file is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._file = MetricsFile(self.path)
        return self._file

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """Write ``hparams.yaml``, as Lightning's does."""
        write_text(Path(self.log_dir) / "hparams.yaml", yaml.safe_dump(dict(params or {}), sort_keys=False))

    def finalize(self, status: str) -> None:
        """Write what is still to be written."""
        if self._file is not None:
            self.save()
