"""What a training run says when it is over: its accuracies, where its files lie, and what to do next."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from rich.console import Console

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.analyses.accuracy.predictions import PredictionsAnalysis
from lightning_advinterp.core.names import shell
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.save import name_images
from lightning_advinterp.report.table import accuracy_table
from lightning_advinterp.training.callbacks.accuracy import AccuracyCallback
from lightning_advinterp.training.callbacks.watched import validation_set
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.run_directory import RunDirectory

FINAL_IMAGES = 1000
"""At most so many validation images decide the table at the end of a training run."""


def final_results(trainer: pl.Trainer, model: RobustClassifier, watching: AccuracyCallback | None) -> dict[str, Result]:
    """Return ``accuracy`` and ``predictions`` of the trained network on validation images, clean and under attack.

    The page pairs two networks by the predictions of every image. Without validation images there are no results.

    Args:
        trainer: whose validation images are looked at.
        model: with the network.
        watching: by which attacks, how many images at a time, from which seed.
    """
    images = validation_set(trainer)
    if not images:
        return {}
    attacks = {} if watching is None else watching.attacks()
    runner = Runner(
        model.network.to(trainer.strategy.root_device),
        images,
        attacks=attacks,
        batch_size=100 if watching is None else watching.batch_size,
        device=trainer.strategy.root_device,
        seed=0 if watching is None else watching.seed,
        limit=FINAL_IMAGES,
        progress=True,
        stop_at_no_numbers=False,
    )
    results = runner.run([AccuracyAnalysis(attacks), PredictionsAnalysis(attacks)])
    name_images(results, images.path_of)
    return results


def print_outcome(
    networks: Mapping[str, Result | None],
    directory: RunDirectory,
    console: Console,
    page: Path | None = None,
    loggers: Sequence[Logger] = (),
) -> None:
    """Print the accuracies of a run's networks, and where its files lie.

    Args:
        networks: accuracies by the name of the objective.
        directory: the run's folder.
        console: where to print.
        page: of what was watched; None without any.
        loggers: which the run's numbers went to; it may have had others than the usual ones, in other places.
    """
    rows = {name: result.tables["accuracy"] for name, result in networks.items() if result is not None}
    console.print()
    if len(rows) == len(networks):
        console.print(accuracy_table(rows, "Accuracy on validation images"))
    else:
        console.print("There are no validation images, hence no accuracies.")
    for line in _where(directory, loggers):
        console.print(line, soft_wrap=True)
    if page is not None:
        console.print(f"page           {page}", soft_wrap=True)


def _where(directory: RunDirectory, loggers: Sequence[Logger]) -> list[str]:
    checkpoints: list[Path] = [path for path in (directory.last, directory.best) if path.exists()]
    lines = [f"\nconfiguration  {directory.config}"]
    if checkpoints:
        lines.append(f"checkpoints    {', '.join(map(str, checkpoints))}")
    for logger in loggers:  # others, such as W&B's, say themselves where they write
        if isinstance(logger, TensorBoardLogger):
            folder = directory.path.parent if Path(logger.log_dir) == directory.path else Path(logger.log_dir)
            lines.append(f"curves         {shell('tensorboard', '--logdir', folder)}")
        elif isinstance(logger, CSVLogger):
            lines.append(f"numbers        {Path(logger.log_dir) / 'metrics.csv'}")
    if checkpoints:
        flags = ["--analyses", "accuracy", "--attack", "pgd", "--eps", "4/255", "--steps", "20", "--output"]
        door = ("python", "evaluate.py") if Path("evaluate.py").is_file() else ("advinterp", "evaluate")  # no checkout
        command: tuple[str | Path, ...] = (
            *door,
            "--checkpoint",
            checkpoints[0],
            *flags,
            f"evaluations/{directory.path.name}",
        )
        lines.append(f"next           {shell(*command)}")
    return lines
