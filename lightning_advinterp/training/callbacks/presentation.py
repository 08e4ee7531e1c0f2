"""What of an answer is logged, drawn and printed in training."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import ClassVar

import pytorch_lightning as pl
from matplotlib.figure import Figure

from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.core.result import Result


class Presentation(pl.Callback):
    """The part of a callback that asks questions which says how the answers are presented.

    Attributes:
        questions: the questions.
    """

    questions: Sequence[Question]
    budgeted: ClassVar[bool] = True
    """Whether a time budget may give it fewer images."""
    announced: ClassVar[bool] = True
    """Whether a line is printed, and tables and figures are written, each time."""
    drawn: ClassVar[Sequence[str] | None] = None
    """Patterns of the names of the figures that are drawn in training; None: all."""
    figure_formats: Sequence[str] = ("png",)
    """Of the figures beside the log: ``png``, ``svg``, ``pdf``."""

    def scalars(self, results: Mapping[str, Result]) -> dict[str, float]:
        """Return what is logged, under its log keys, from the results by question."""
        scalars: dict[str, float] = {}
        for question in self.questions:
            scalars |= question.scalars(results[question.name])
        return scalars

    def figures(self, results: Mapping[str, Result], title: str) -> dict[str, Figure]:
        """Return figures by what TensorBoard calls them, from the results by question."""
        figures: dict[str, Figure] = {}
        for question in self.questions:
            for name, figure in question.figures(results[question.name], title).items():
                if self.drawn is None or any(fnmatch(name, pattern) for pattern in self.drawn):
                    figures[self.tag(question, name)] = figure
        return figures

    def tag(self, question: Question, figure: str) -> str:
        """Return what TensorBoard calls a figure."""
        figure_name = question.main_figure if figure == question.name else figure.removeprefix(f"{question.name}_")
        return f"{question.name}/{figure_name}"

    def texts(self, results: Mapping[str, Result]) -> dict[str, str]:
        """Return texts in Markdown by what TensorBoard calls them."""
        return {}

    def headlines(self) -> list[str]:
        """Return the log keys of the few numbers that say most: for the printed line and the table of runs."""
        return []
