"""``train.py --dry_run``: hours, memory and disk of a training, from a few of its batches."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from lightning_advinterp.analyses.base.costs import SweepCost, sweep_costs
from lightning_advinterp.analyses.base.pass_seconds import PassSeconds, analysis_seconds, time_passes
from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.base.time_limits import time_limits
from lightning_advinterp.analyses.base.trial import Estimate, extended
from lightning_advinterp.cli.evaluation.trial import describe
from lightning_advinterp.core.memory import forget_peak, memory_now, memory_peak, return_freed_memory
from lightning_advinterp.core.terminal import PlainConsole
from lightning_advinterp.data.loaders import read_batch
from lightning_advinterp.datamodules.base import ImageDataModule, SizedDataset
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback
from lightning_advinterp.training.callbacks.monitors import MonitorsCallback
from lightning_advinterp.training.preflight import checkpoint_bytes

if TYPE_CHECKING:
    from lightning_advinterp.cli.train_command import TrainCLI

BATCHES = 4
"""That are trained on; the first one is not what the others are."""
_CHECKPOINTS = 4
"""last.ckpt, previous.ckpt, mid.ckpt and best.ckpt."""
_MOST = 16
"""Images of the batch whose passes are timed."""


class BatchTimes(pl.Callback):
    """Times batches, with the wait for their data, and ends the trial when it has taken long enough.

    Args:
        limit: seconds; two batches are always trained on.

    Attributes:
        training: seconds of each batch that was trained on.
        validation: of each validation batch.
        training_images: of each batch that was trained on.
        validation_images: of each validation batch.
        peak: the most bytes of memory in training and validation; None where the system does not say.
    """

    def __init__(self, limit: float) -> None:
        self.training: list[float] = []
        self.validation: list[float] = []
        self.training_images: list[int] = []
        self.validation_images: list[int] = []
        self.peak: int | None = None
        self._limit, self._begun, self._last = limit, 0.0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start."""
        return_freed_memory()
        forget_peak(pl_module.device)
        self._begun = self._last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a batch."""
        self.training.append(self._lap(pl_module.device))
        self.training_images.append(len(batch[1]))
        if len(self.training) > 1 and self._last - self._begun > self._limit:
            trainer.should_stop = True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out what lies between training and validation."""
        self._lap(pl_module.device)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *more: Any
    ) -> None:
        """Note a batch."""
        self.validation.append(self._lap(pl_module.device))
        self.validation_images.append(len(batch[1]))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the most memory."""
        self.peak = memory_peak(pl_module.device)

    def _lap(self, device: torch.device) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        lap, self._last = now - self._last, now
        return lap


def estimate_training(cli: "TrainCLI", parse: Callable[[Sequence[str]], "TrainCLI"], args: Sequence[str]) -> Estimate:
    """Train on a few batches of a copy of a run, and return what all of it will take; nothing is written.

    Args:
        cli: the run as configured, which is not trained.
        parse: from a command line to a run.
        args: the command line.

    Raises:
        ValueError: if the images are of another kind of data module, whose number is not known.
    """
    flags = {"fast_dev_run": BATCHES, "devices": 1, "num_nodes": 1, "strategy": "auto"}
    trial = parse([*args, *(word for name, value in flags.items() for word in (f"--trainer.{name}", str(value)))])
    if not isinstance(data := trial.datamodule, ImageDataModule):
        raise ValueError("dry_run: how many images a data module of your own has is not known; leave dry_run out.")
    trial.check()
    callbacks: list[pl.Callback] = trial.trainer.callbacks  # type: ignore[attr-defined]
    analyses = [callback for callback in callbacks if isinstance(callback, AnalysisCallback)]
    times = BatchTimes(cli.config.trial_seconds)
    # What analyses log is absent from the trial, so nothing may ask for it.
    removed = (AnalysisCallback, MonitorsCallback)
    remaining = [callback for callback in callbacks if not isinstance(callback, removed)]
    trial.trainer.callbacks = [*remaining, times]  # type: ignore[attr-defined]
    trained, validated = _count(data.train_dataset), _count(data.val_dataset)
    trial.fit()
    epochs, steps = _length(cli, trial)
    validations = epochs // (cli.config.trainer.check_val_every_n_epoch or 1)
    seconds = extended(times.training, times.training_images, trained * steps)
    if times.validation:
        seconds += extended(times.validation, times.validation_images, validated * validations)
    watching, bytes_watched = _watching(trial, analyses, epochs)
    memory = None if times.peak is None else max(times.peak, bytes_watched)
    size = checkpoint_bytes(trial.model, averaged=cli.config.ema is not None)
    files = 0 if cli.config.trainer.enable_checkpointing is False else _CHECKPOINTS * size
    return Estimate(seconds + watching, memory=memory, files=files)


def _count(images: SizedDataset | None) -> int:
    return 0 if images is None else len(images)


def _length(cli: "TrainCLI", trial: "TrainCLI") -> tuple[int, float]:
    """Return how many epochs a run has, and how many times it sees all training images."""
    settings, per_epoch = cli.config.trainer, len(trial.datamodule.train_dataloader())
    limit = settings.limit_train_batches
    share = 1.0 if limit is None else limit if isinstance(limit, float) else min(1.0, limit / per_epoch)
    epochs = settings.max_epochs if settings.max_epochs not in (None, -1) else None
    if settings.max_steps > 0:
        updates = per_epoch * share / (settings.accumulate_grad_batches or 1) / cli.trainer.world_size
        passes = settings.max_steps / updates
        epochs = passes if epochs is None else min(epochs, passes)
    if epochs is None:
        raise ValueError("dry_run: how long a training without an end takes is not known; give trainer.max_epochs.")
    return max(1, int(epochs)), epochs * share


def _watching(trial: "TrainCLI", callbacks: Sequence[AnalysisCallback], epochs: int) -> tuple[float, int]:
    """Return the seconds of all questions that are asked of the epochs, by their passes, and the bytes of a batch."""
    device = trial.model.device
    counts = {callback: len(callback.dataset(trial.trainer, trial.model)) for callback in callbacks}
    callbacks = [callback for callback in callbacks if counts[callback]]
    if not callbacks:
        return 0.0, 0
    images = callbacks[0].dataset(trial.trainer, trial.model)
    x = read_batch(images, range(min(_MOST, len(images)))).to_float().image.to(device)
    return_freed_memory()
    forget_peak(device)
    before = memory_now(device) or 0
    passes = time_passes(trial.model.network, x)
    image_bytes = max(0, (memory_peak(device) or 0) - before) // len(x)
    seconds, most = dict[AnalysisCallback, float](), 0
    for callback in callbacks:
        count = counts[callback] if callback.limit is None else min(counts[callback], callback.limit)
        analyses = callback.analyses()
        costs = sweep_costs(analyses, Plans(trial.model.network), callback.attacks(), count)
        seconds[callback] = _seconds(costs, passes, count, time_limits(analyses, trial.trainer.world_size))
        most = max(most, before + image_bytes * min(count, callback.batch_size))
    budget = math.inf if trial.config.watch_seconds is None else trial.config.watch_seconds
    watched = 0.0
    for epoch in range(1, epochs + 1):
        due = [callback for callback in callbacks if epoch % callback.every_n_epochs == 0]
        watched += min(budget, sum(seconds[callback] for callback in due))
    return watched, most


def _seconds(costs: Sequence[SweepCost], passes: PassSeconds, count: int, limits: Mapping[str, float]) -> float:
    shown = sum(passes.of((cost.forwards, cost.backwards)) for cost in costs)
    return shown + sum(analysis_seconds(costs, passes, limits, count).values())


def print_estimate(total: Estimate, cli: "TrainCLI", console: PlainConsole) -> None:
    """Say what a training takes."""
    console.print(f"{cli.directory.path}: {describe(total, cli.trainer.world_size)}", soft_wrap=True, highlight=False)
    if cli.config.compare_with_standard:
        console.print("  the training with the standard objective, of compare_with_standard, comes on top")
