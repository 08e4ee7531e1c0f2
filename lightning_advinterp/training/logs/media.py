"""Figures, texts and tables in loggers: TensorBoard's own way, or the methods of Lightning's logger for W&B."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Protocol, runtime_checkable

from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from lightning_advinterp.core.names import printable
from lightning_advinterp.core.result import Row, is_missing
from lightning_advinterp.report.plain import PlainWriter, plain_text

_DPI = 100


@runtime_checkable
class _ImageLogger(Protocol):
    """A logger with the method of Lightning's ``WandbLogger``."""

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None: ...


@runtime_checkable
class _TableLogger(Protocol):
    """A logger with the method of Lightning's ``WandbLogger``."""

    def log_table(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        *,
        step: int | None = None,
    ) -> None: ...


@runtime_checkable
class _TextLogger(Protocol):
    """A logger with the method of Lightning's ``WandbLogger``."""

    def log_text(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[str]] | None = None,
        *,
        step: int | None = None,
    ) -> None: ...


def log_figure(loggers: Sequence[Logger], tag: str, figure: Figure, step: int) -> None:
    """Show a figure in every logger that shows pictures.

    Args:
        loggers: of a trainer.
        tag: what it is called there.
        figure: drawn as it is, names in it are text.
        step: of the training.
    """
    image: Image.Image | None = None
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            PlainWriter(logger.experiment).add_figure(tag, figure, step, close=False)
        elif isinstance(logger, _ImageLogger):
            image = image or _picture(figure)
            logger.log_image(printable(tag, keep=""), [image], step=step)


def log_text(loggers: Sequence[Logger], tag: str, text: str, step: int) -> None:
    """Show a text in Markdown in every logger that shows texts; names in it have passed ``markdown_cell``."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            PlainWriter(logger.experiment).add_text(tag, text, step)
        elif isinstance(logger, _TextLogger):
            logger.log_text(printable(tag, keep=""), ["text"], [[printable(text)]], step=step)


def log_table(loggers: Sequence[Logger], tag: str, rows: Sequence[Row], step: int) -> None:
    """Show a table in every logger that shows tables; TensorBoard has none."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for logger in loggers:
        if columns and not isinstance(logger, TensorBoardLogger) and isinstance(logger, _TableLogger):
            data = [[_value(row, column) for column in columns] for row in rows]
            logger.log_table(printable(tag, keep=""), columns, data, step=step)


def _value(row: Mapping[str, Any], column: str) -> Any:
    """Return a number as it is, what is missing as None, and anything else as text: columns have one type there."""
    value = row.get(column)
    if is_missing(value):
        return None
    return value if isinstance(value, bool | int | float) else printable(str(value))


def _picture(figure: Figure) -> Image.Image:
    drawn = BytesIO()
    plain_text(figure)
    figure.savefig(drawn, dpi=_DPI, format="png")
    return Image.open(drawn).convert("RGB")
