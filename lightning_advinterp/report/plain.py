"""Figures and logs whose texts are text: names from files are never markup there."""

from functools import partial
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter, LogFormatter, NullFormatter

from lightning_advinterp.core.names import printable


def plain_text(figure: Figure) -> Figure:
    r"""Let every text of a figure be drawn as it is: ``$`` begins no formula, and nothing that has no glyph is drawn.

    A class that is called ``$\frac{$`` would end an evaluation by an error of the formulas' parser once all is done.

    Args:
        figure: is changed.

    Returns:
        The figure.
    """
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FixedFormatter | FuncFormatter):  # what ticks take their texts from at every draw
                axis.set_major_formatter(partial(_printed, formatter))
            elif isinstance(formatter, LogFormatter):  # it writes powers of ten as formulas
                axis.set_major_formatter(_number)
                axis.set_minor_formatter(NullFormatter())
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(printable(text.get_text()))
    return figure


def _number(value: float, place: float | None = None) -> str:
    return f"{value:g}"


def _printed(formatter: Formatter, value: float, place: int | None = None) -> str:
    return printable(formatter(value, place))


class PlainWriter:
    """TensorBoard's writer, in whose figures and tags names are text.

    Args:
        writer: a ``SummaryWriter``.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add_figure(self, tag: str, figure: Figure, *args: Any, **kwargs: Any) -> None:
        """See ``SummaryWriter``."""
        self._writer.add_figure(printable(tag, keep=""), plain_text(figure), *args, **kwargs)

    def add_text(self, tag: str, text: str, *args: Any, **kwargs: Any) -> None:
        """See ``SummaryWriter``; names in the text have passed ``core.names.markdown_cell``."""
        self._writer.add_text(printable(tag, keep=""), printable(text), *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)
