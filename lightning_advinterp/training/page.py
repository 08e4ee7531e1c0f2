"""The page of a training: what its last epoch's questions found, as an evaluation that can be opened and compared."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lightning_advinterp.analyses.accuracy.question import Accuracy, Predictions
from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.core.names import shell
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.command import write_page
from lightning_advinterp.report.save import name_images, page_files, save_results, written
from lightning_advinterp.training.callbacks.accuracy import AccuracyCallback
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback
from lightning_advinterp.training.run_directory import RunDirectory


def save_page(directory: RunDirectory, trainer: pl.Trainer, judged: Mapping[str, Result], title: str) -> Path | None:
    """Write the folder of a run's page, from the answers of the last epoch in which questions were asked.

    Args:
        directory: the run's folder; the page's is ``page`` in it, and its earlier files are replaced.
        trainer: whose callbacks asked.
        judged: ``accuracy`` and ``predictions`` of the trained network; nothing without validation images.
        title: what the network is called.

    Returns:
        The folder; the one that is there where this start of the run asked nothing; None where there is none.
    """
    folder = directory.path / "page"
    answered = list(_answered(trainer))
    if not answered:
        return folder if (folder / "results.json").exists() else None
    final: tuple[Question, ...] = (Accuracy(), Predictions())
    questions = [(question, judged[question.name]) for question in final if question.name in judged] + answered
    results = {question.name: result for question, result in questions}
    figures, pages, analyses = {}, {}, {}
    for question, result in questions:
        drawn = question.figures(result, title)
        own_pages = page_files(question.name, question.pages(result, title))
        files = list(written({question.name: result}, drawn, own_pages))
        analyses[question.name] = {"results": [question.name], "files": files}
        figures.update(drawn)
        pages.update(own_pages)
    more = {"analyses": analyses, "command": shell("advinterp", "train", "--config", directory.config)}
    provenance = {"settings": {"checkpoint": str(directory.last)}, "epoch": trainer.current_epoch}
    save_results(folder, results, figures, provenance, pages=pages, more=more)
    return folder


def page_of(folders: Iterable[Path | None]) -> Path | None:
    """Return the page of a run, which shows the runs beside it too; None where nothing was watched."""
    present = [folder for folder in folders if folder is not None]
    return write_page(present) if present else None


def _answered(trainer: pl.Trainer) -> Iterable[tuple[Question, Result]]:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        if not isinstance(callback, AnalysisCallback) or isinstance(callback, AccuracyCallback):
            continue
        if callback.last is None:
            continue
        name_images(callback.last.results, callback.last.images.path_of)
        results: Mapping[str, Result] = callback.last.results
        yield from ((question, results[question.name]) for question in callback.questions)
