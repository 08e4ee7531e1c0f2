"""A checkpoint from within an epoch, for what may stop a run before the epoch's end."""

from pathlib import Path
from typing import Any, final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from lightning_advinterp.datamodules.lightning_internals import (
    note_validation_ahead,
    take_back_validation,
    validation_follows,
)
from lightning_advinterp.training.callbacks.termination import Termination


@final
class MidEpochCallback(Checkpoint):
    """Writes one checkpoint within an epoch, over and over: before every validation, and every so many steps.

    When a signal asks to stop (:class:`~lightning_advinterp.training.callbacks.termination.Termination`), it is written
    at the end of the step under way, and the process ends. Once the epoch's own checkpoint is written, this one is
    removed.

    A run that goes on from here ends with the weights of one that was never stopped: the order of the images is a
    function of seed and epoch, of which the loader keeps its place; random draws are functions of seed, epoch and step.

    Args:
        path: the checkpoint.
        every_n_steps: optimiser steps from one to the next; None: before validations alone.
    """

    def __init__(self, path: Path, every_n_steps: int | None = None) -> None:
        self.path, self.every_n_steps = path, every_n_steps
        self._termination = Termination()
        self._validation_ahead = False

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals from here on; nothing is lost by them before the first step."""
        self._termination.listen(trainer)
        self._termination.at_once = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same, for runs without a sanity check; from here on, there is something to save."""
        self._termination.listen(trainer)
        self._termination.at_once = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give Ctrl-C back."""
        self._termination.forget()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give Ctrl-C back."""
        self._termination.forget()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where it is due; the epoch's last batch and those before a validation leave it to what follows."""
        stop = self._termination.asked(trainer, wait=False)
        # Gradients that wait for more batches are no part of a checkpoint.
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if trainer.is_last_batch or not stepped or validation_follows(trainer):
            return
        if stop or (self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0):
            self._save(trainer)
        if stop:
            self._termination.stop(f"saved {self.path} after step {trainer.global_step}")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save before anything is judged; while it is, the file says all there is to say."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        take_back_validation(trainer)  # what on_save_checkpoint counted
        stop = self._termination.asked(trainer)
        self._validation_ahead = True
        self._save(trainer)
        self._validation_ahead = False
        self._termination.at_once = True
        if stop or self._termination.received is not None:
            self._termination.stop(f"saved {self.path} before the validation at step {trainer.global_step}")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on, there is something to save again."""
        self._termination.at_once = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Now that the epoch's own checkpoint is written, remove this one, and stop if asked to."""
        stop = self._termination.asked(trainer)
        if trainer.is_global_zero:
            self.path.unlink(missing_ok=True)
        if stop:
            self._termination.stop(f"saved the end of epoch {trainer.current_epoch}")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note that the validation is still to come."""
        if self._validation_ahead:
            note_validation_ahead(checkpoint)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
