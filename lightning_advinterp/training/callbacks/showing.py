"""What one epoch's answers leave: figures, texts and tables in the loggers, files beside the log, and a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl

from lightning_advinterp.core.result import Result
from lightning_advinterp.report.save import draw_files, name_images, save_tables
from lightning_advinterp.training.callbacks.asking import Answer
from lightning_advinterp.training.logs import log_figure, log_folder, log_table, log_text

if TYPE_CHECKING:
    from lightning_advinterp.training.callbacks.analysis import AnalysisCallback
    from lightning_advinterp.training.callbacks.budget import BudgetCallback

_PICTURES = ("fragility_pictures",)
"""Tables that say what stands in which picture: figures show it."""


def show(callback: AnalysisCallback, trainer: pl.Trainer, answer: Answer) -> None:
    """Send an answer to the loggers, and write its tables and figures beside the log; on the first process.

    Args:
        callback: whose answer it is.
        trainer: whose loggers are told.
        answer: of this epoch; the images' numbers in its tables become paths where images have paths.
    """
    step = trainer.global_step
    figures = callback.figures(answer.results, f"epoch {trainer.current_epoch + 1}")
    for tag, figure in figures.items():
        log_figure(trainer.loggers, tag, figure, step)
    for tag, text in callback.texts(answer.results).items():
        log_text(trainer.loggers, tag, text, step)
    if not callback.announced:
        return
    name_images(answer.results, answer.images.path_of)
    results = {name: _without_pictures(result) for name, result in answer.results.items()}
    for name, result in results.items():
        for table, rows in result.tables.items():
            log_table(trainer.loggers, f"{name}/{table}", rows, step)
    folder = log_folder(trainer)
    if folder is None:
        return
    for name, result in results.items():
        save_tables(epoch_folder(folder, name, trainer), {name: result})
    for tag, figure in figures.items():
        name, _, title = tag.partition("/")
        drawn = epoch_folder(folder, name, trainer) / "figures"
        draw_files(drawn, title.replace("/", "_"), figure, callback.figure_formats)


def line_of(callback: AnalysisCallback, answer: Answer, scalars: Mapping[str, float]) -> str:
    """Return the line that is printed: how many images, how long, and the numbers that say most.

    A question that takes only some of the images it looks at, as fragility does, logs ``<question>/images``, ``left``
    and ``skipped``; the line then counts those that were taken.
    """
    name = callback.questions[0].name
    values = [f"{key.removeprefix(f'{name}/')} {scalars[key]:.3g}" for key in callback.headlines() if key in scalars]
    images = len(answer.images) if callback.limit is None else min(callback.limit, len(answer.images))
    taken = int(scalars.get(f"{name}/images", answer.count))
    reasons = []
    wrong, left = (int(scalars.get(f"{name}/{key}", 0)) for key in ("skipped", "left"))
    if wrong:
        reasons.append(f"{wrong} classified wrongly")
    if left or answer.count < images:
        reasons.append(f"{left} left for lack of time" if reasons else "for lack of time")
    less = f" (of {images}, {', '.join(reasons)})" if reasons else ""
    return ", ".join([f"{name}: {taken} image{'' if taken == 1 else 's'}{less} in {answer.seconds:.1f} s", *values])


def left_out_line(callback: AnalysisCallback, budget: BudgetCallback) -> str:
    """Return the line of a question that a time budget leaves out of an epoch."""
    names = ", ".join(question.name for question in callback.questions)
    return f"{names}: left out of this epoch; its fewest images need more than watch_seconds {budget.seconds:g} leaves"


def epoch_folder(folder: Path, name: str, trainer: pl.Trainer) -> Path:
    """Return where a question's files of the epoch under way go."""
    return folder / name / f"epoch_{trainer.current_epoch + 1}"


def _without_pictures(result: Result) -> Result:
    return replace(result, tables={name: rows for name, rows in result.tables.items() if name not in _PICTURES})
