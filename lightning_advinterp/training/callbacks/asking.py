"""One run over the images for all callbacks that are due and look at them, and what it answers."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytorch_lightning as pl

from lightning_advinterp.analyses.base.runner import Runner
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import Result, joined
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.training.callbacks.budget import BudgetCallback
from lightning_advinterp.training.callbacks.watched import loading_workers
from lightning_advinterp.training.module import RobustClassifier

if TYPE_CHECKING:
    from lightning_advinterp.training.callbacks.analysis import AnalysisCallback


@dataclass(frozen=True)
class Answer:
    """What one epoch found.

    Attributes:
        results: by question.
        images: what was looked at.
        count: at how many of them.
        seconds: how long the run took.
    """

    results: Mapping[str, Result]
    images: ImageSet
    count: int
    seconds: float


def ask(
    callbacks: Sequence[AnalysisCallback], trainer: pl.Trainer, module: RobustClassifier, limit: int | None
) -> None:
    """Answer the questions of callbacks that share a run, and leave each its answer.

    Args:
        callbacks: which look at the same images.
        trainer: that is validating.
        module: with the network.
        limit: number of images, at most the callbacks' own.
    """
    started = time.monotonic()
    first = callbacks[0]
    images = first.dataset(trainer, module)
    runner_of = partial(
        Runner,
        module.network,
        batch_size=first.batch_size,
        device=module.device,
        seed=first.seed,
        num_workers=loading_workers(trainer, first.num_workers, module.device),
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        stop_at_no_numbers=False,  # watching never ends a training; a loss that is no number does
        progress=bool(getattr(trainer.progress_bar_callback, "is_enabled", False)),
    )
    built = {callback: callback.built(_found_before(callback, runner_of)) for callback in callbacks}
    attacks: dict[str, Attack] = {}
    for callback in callbacks:
        attacks |= callback._shown_attacks()
    runner = runner_of(images, attacks=attacks, limit=limit)
    analyses = [analysis for questions in built.values() for group in questions.values() for analysis in group]
    results = runner.run(analyses)
    seconds = time.monotonic() - started
    for callback, questions in built.items():
        answers = {
            name: joined(name, [results[analysis.name] for analysis in group]) for name, group in questions.items()
        }
        callback._answer = Answer(answers, images, len(runner.indices), seconds)


def ask_within(
    budget: BudgetCallback | None,
    callbacks: Sequence[AnalysisCallback],
    runs: int,
    trainer: pl.Trainer,
    module: RobustClassifier,
) -> None:
    """Answer as :func:`ask` does, of as many images as a time budget leaves; none where it leaves the run out.

    Args:
        budget: of the epoch; None for none.
        callbacks: which look at the same images.
        runs: how many runs with a budget are due in this epoch.
        trainer: that is validating.
        module: with the network.
    """
    first = callbacks[0]
    limit = first.limit
    if budget is not None and first.budgeted:
        budget.opens(trainer.current_epoch, runs)
        count = len(first.dataset(trainer, module))
        count = count if limit is None else min(count, limit)
        if all(callback.within(budget.share) for callback in callbacks):
            limit = count if budget.share > 0 else 0
        else:
            limit = budget.images(first.name, count, partial(_try, callbacks, trainer, module), trainer)
    if limit != 0:
        ask(callbacks, trainer, module, limit)


def _try(callbacks: Sequence[AnalysisCallback], trainer: pl.Trainer, module: RobustClassifier, limit: int) -> None:
    """Answer of a few images, and forget it; that they are few need not be said."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ask(callbacks, trainer, module, limit)
    finally:
        logging.disable(logging.NOTSET)
        for callback in callbacks:
            callback._answer = None


def _found_before(callback: AnalysisCallback, runner_of: Callable[..., Runner]) -> dict[str, Result]:
    """Run what must run before a callback's analyses; return the joined results by question."""
    earlier_results = {}
    for name, earlier in callback.earlier().items():
        results = runner_of(earlier.images).run(earlier.analyses)
        earlier_results[name] = joined(name, list(results.values()))
    return earlier_results
