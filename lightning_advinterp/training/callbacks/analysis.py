"""Runs an analysis at the end of validation epochs: the same code that ``evaluate.py`` runs on a checkpoint."""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.model_helpers import is_overridden

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.runner import Runner
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.plain import PlainWriter
from lightning_advinterp.training.module import RobustClassifier


class AnalysisCallback(pl.Callback):
    """When an analysis runs, on what, and how it is logged.

    The analysis sees the unwrapped network in evaluation mode, on a seeded subset of the validation images that is
    shared out among the processes. It never touches the training's weights, modes or random state.

    Args:
        every_n_epochs: how often.
        limit: number of validation images; ``null`` takes all.
        batch_size: images at a time.
        seed: draws the subset and the attacks' random numbers.
    """

    announced: ClassVar[bool] = False
    """Whether the time that it takes is printed every epoch."""

    def __init__(self, every_n_epochs: int = 1, limit: int | None = 500, batch_size: int = 100, seed: int = 0) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be 1 or more, got {every_n_epochs}.")
        self.every_n_epochs, self.limit = every_n_epochs, limit
        self.batch_size, self.seed = batch_size, seed

    def prepare(self, module: RobustClassifier, data: Any) -> None:
        """Open what the analyses look at, and see that they suit the network, before the first step.

        Args:
            module: with the network.
            data: the data module, set up; None where there is none.

        Raises:
            ValueError, OSError: naming what is missing or unknown.
        """
        for analysis in self.analyses():
            for sweep in analysis.needs(module.network).sweeps:
                module.network.check(sweep.layers)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Get ready, where the command line has not done so."""
        assert isinstance(pl_module, RobustClassifier)
        self.prepare(pl_module, getattr(trainer, "datamodule", None))

    @abstractmethod
    def analyses(self) -> Sequence[Analysis]:
        """Return fresh analyses for one epoch."""

    @abstractmethod
    def attacks(self) -> Mapping[str, Attack]:
        """Return the attacks whose images the analyses want."""

    @abstractmethod
    def scalars(self, results: Mapping[str, Result]) -> dict[str, float]:
        """Return what is logged, under its log keys."""

    def due(self, trainer: pl.Trainer) -> bool:
        """Whether this validation epoch is one to run at."""
        return not trainer.sanity_checking and (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def dataset(self, trainer: pl.Trainer, pl_module: RobustClassifier) -> Any:
        """Return the images of which a choice is looked at: the validation images, unless a callback has its own."""
        return validation_set(trainer)

    def draw(self, writer: Any, trainer: pl.Trainer, seen: "Seen") -> None:
        """Add figures and texts to TensorBoard; called on the first process."""

    def write(self, folder: Path, trainer: pl.Trainer, seen: "Seen") -> None:
        """Write files beside the log in ``folder``; called on the first process, where there is a log on disk."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run, beside the training's progress bar, log the scalars on all processes, draw and write on the first."""
        if not self.due(trainer):
            return
        assert isinstance(pl_module, RobustClassifier)
        started = time.monotonic()
        dataset, attacks = self.dataset(trainer, pl_module), self.attacks()
        runner = Runner(
            pl_module.network,
            dataset,
            attacks=attacks,
            batch_size=self.batch_size,
            device=pl_module.device,
            seed=self.seed,
            limit=self.limit,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            stop_at_no_numbers=False,  # watching never ends a training; a loss that is no number does
            progress=bool(getattr(trainer.progress_bar_callback, "is_enabled", False)),
        )
        analyses = self.analyses()
        results = runner.run(analyses)
        seen = Seen(pl_module, dataset, attacks, analyses, results)
        if trainer.is_global_zero:
            folder = next((logger.log_dir for logger in trainer.loggers if logger.log_dir), None)
            if folder is not None:
                self.write(Path(folder), trainer, seen)
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    self.draw(PlainWriter(logger.experiment), trainer, seen)
        seconds = time.monotonic() - started
        if self.announced:
            trainer.print(f"{type(self).__name__}: {len(runner.indices)} images in {seconds:.1f} s")
        scalars = self.scalars(results) | {f"time/{type(self).__name__}": seconds}
        for key, value in scalars.items():
            shown = key.startswith("val/") and not key.endswith("5")
            # The values agree already; sync_dist keeps Lightning from warning that they might not.
            pl_module.log(key, value, prog_bar=shown, sync_dist=True)


@dataclass(frozen=True)
class Seen:
    """One epoch's analyses, for their figures.

    Attributes:
        module: the module under training.
        dataset: what was looked at.
        attacks: name to attack.
        analyses: with what they have seen.
        results: by name.
    """

    module: RobustClassifier
    dataset: Any
    attacks: Mapping[str, Attack]
    analyses: Sequence[Analysis]
    results: Mapping[str, Result]


def validation_set(trainer: pl.Trainer) -> Any:
    """Return the data set behind the validation loader, of the trainer or else of the data module; None without any."""
    data: Any = getattr(trainer, "datamodule", None)
    loaders: Any = trainer.val_dataloaders
    if loaders is None and data is not None and is_overridden("val_dataloader", data, pl.LightningDataModule):
        loaders = data.val_dataloader()
    loader = next(iter(loaders), None) if isinstance(loaders, list | tuple) else loaders
    return None if loader is None else loader.dataset
