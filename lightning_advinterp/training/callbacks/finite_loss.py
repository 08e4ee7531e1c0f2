"""Stops a training whose loss is not a number any more, and names the images."""

from collections import deque
from pathlib import Path
from typing import Any, NamedTuple, final

import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_advinterp.core.errors import RunStoppedError


class _Pending(NamedTuple):
    """One step whose loss is on its way to the host; ``arrived`` is a CUDA event, None where nothing travels."""

    loss: Tensor
    images: Tensor
    epoch: int
    step: int
    arrived: Any


@final
class FiniteLossCallback(pl.Callback):
    """Ends a run at the first loss that is NaN or infinite; no checkpoint is written after it.

    On a GPU the losses travel to the host while training goes on, so that no step waits for them; all are looked at
    before a checkpoint is written.

    Args:
        folder: the run's folder, whose checkpoints the message names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pending: deque[_Pending] = deque()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Send the loss off, and look at those that have arrived."""
        loss: Tensor = outputs["loss"].detach()
        arrived: Any = None
        if loss.is_cuda:
            # Only page-locked memory can be written to while the program goes on.
            loss = torch.empty(loss.shape, dtype=loss.dtype, pin_memory=True).copy_(loss, non_blocking=True)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        self._pending.append(_Pending(loss, batch[2], trainer.current_epoch, batch_idx, arrived))
        self._check(wait=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at all."""
        self._check(wait=True)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Look at all, so that no checkpoint comes after a loss that is none."""
        self._check(wait=True)

    def _check(self, wait: bool) -> None:
        """Look at the losses, oldest first, up to the first that is still on its way.

        Raises:
            RunStoppedError: naming the batch's images.
        """
        while self._pending:
            loss, index, epoch, step, arrived = self._pending[0]
            if arrived is not None and not wait and not arrived.query():
                return
            if arrived is not None:
                arrived.synchronize()
            self._pending.popleft()
            if not bool(torch.isfinite(loss)):
                self._pending.clear()
                images = ", ".join(map(str, index.tolist()))
                checkpoints = ", ".join(map(str, sorted(self.folder.glob("*.ckpt"))))
                raise RunStoppedError(
                    f"the loss became {float(loss)} in epoch {epoch}, batch {step}; images {images}. "
                    + (f"Kept as they were: {checkpoints}. " if checkpoints else "No checkpoint had been written yet. ")
                    + "Look at these images, set trainer.gradient_clip_val, or start a run of another name with a "
                    "smaller model.optimizer.lr."
                )
