"""Every use of what Lightning keeps to itself, in one file: what a new version may break without a word.

The rest of the package calls these functions. ``PROVEN`` names the versions of pytorch-lightning that the whole test
suite has passed with; ``pyproject.toml`` pins them.
"""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from pytorch_lightning.trainer.connectors.data_connector import _DataLoaderSource
from torch.optim.swa_utils import AveragedModel

PROVEN = ("2.6.6",)
"""Versions of pytorch-lightning that the test suite has passed with."""

_RESTORING = "checkpoint_connector.py"
"""The file of Lightning that hands a checkpoint's entries to the trainer, the module and the callbacks."""


class Progress(NamedTuple):
    """How far a training was when it wrote a checkpoint; from a file, so that each may be of any type."""

    epochs_ready: Any
    epochs_processed: Any
    batches_processed: Any


def attached_trainer(module: pl.LightningModule) -> pl.Trainer | None:
    """Return the trainer of a module; None where there is none (``module.trainer`` raises there)."""
    return module._trainer


def epochs_processed(trainer: pl.Trainer) -> int:
    """Return how many epochs of the training are over, also while Lightning still prepares a resume."""
    return int(cast(Any, trainer.fit_loop.epoch_progress.current).processed)


@dataclass
class _AdaptedSource(_DataLoaderSource):
    """A source of training loaders, which are adapted for one module.

    Attributes:
        module: whose training alone is meant.
        adapt: from a loader to the one that is used.
    """

    module: pl.LightningModule
    adapt: Callable[[Any], Any]

    def dataloader(self) -> Any:
        """Return the loader that is used."""
        loader = super().dataloader()
        trainer = attached_trainer(self.module)
        return self.adapt(loader) if trainer is not None and trainer.lightning_module is self.module else loader


def adapt_training_loader(module: pl.LightningModule, adapt: Callable[[Any], Any]) -> None:
    """Let a module be trained on what a function makes of its training loader, before there is one.

    Args:
        module: attached to a trainer.
        adapt: from a loader to the one that is used.
    """
    loop = module.trainer.fit_loop
    source = loop._data_source
    loop._data_source = _AdaptedSource(source.instance, source.name, module, adapt)


def set_up_training_data(trainer: pl.Trainer) -> None:
    """Build the training's loader, if there is none yet."""
    trainer.fit_loop.setup_data()


def validation_follows(trainer: pl.Trainer) -> bool:
    """Whether Lightning validates after the training batch that has just ended."""
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def take_back_validation(trainer: pl.Trainer) -> None:
    """Take back what :func:`note_validation_ahead` counted, before a validation begins."""
    trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart()


def note_validation_ahead(checkpoint: Mapping[str, Any]) -> None:
    """Note in a checkpoint that the validation is still to come: Lightning takes a last batch for a validation done.

    What it does understand is a validation that was stopped in its first batch, which it starts anew.
    """
    total = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
    total["ready"] = total["started"] = total["completed"] + 1
    total["processed"] = total["completed"]


def progress_in(checkpoint: Mapping[str, Any]) -> Progress | None:
    """Return how far a training was; None if the checkpoint is of no training."""
    fit = checkpoint.get("loops", {}).get("fit_loop", {})
    if "epoch_progress" not in fit:
        return None
    epochs, batches = fit["epoch_progress"]["current"], fit["epoch_loop.batch_progress"]["current"]
    return Progress(epochs["ready"], epochs["processed"], batches["processed"])


def raised_while_restoring(error: BaseException) -> bool:
    """Whether an error was raised while Lightning took up a checkpoint's entries."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.endswith(_RESTORING) for frame in frames)


def looks_at_epoch_end(callback: EarlyStopping | ModelCheckpoint) -> bool | None:
    """Whether a callback looks at its monitor when the training epoch is over; None: Lightning decides at the start."""
    if isinstance(callback, EarlyStopping):
        return callback._check_on_train_epoch_end
    return False if callback._every_n_train_steps else callback._save_on_train_epoch_end


def averaged_model(callback: WeightAveraging) -> AveragedModel | None:
    """Return the moving average that a callback keeps; None before the training."""
    return callback._average_model


def copies_this_process(trainer: pl.Trainer) -> bool:
    """Whether the trainer's strategy starts its processes as copies of this one."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)
