"""Time: images per second, seconds per epoch, and the share of them spent waiting for data."""

import time
from typing import Any

import pytorch_lightning as pl


class ThroughputCallback(pl.Callback):
    """Logs ``time/images_per_second``, ``time/epoch_seconds`` and ``time/data_share`` for every training epoch."""

    def __init__(self) -> None:
        self._images, self._started, self._idle_since, self._waited = 0, 0.0, 0.0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; an epoch that goes on where it was left has no start of its own."""
        self._start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start()

    def _start(self) -> None:
        self._images, self._waited = 0, 0.0
        self._started = self._idle_since = time.monotonic()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any) -> None:
        """The batch is here: the time since the last one ended was spent waiting for it."""
        self._waited += time.monotonic() - self._idle_since

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images."""
        self._images += len(batch[1])
        self._idle_since = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log; images are counted over all processes."""
        seconds = max(self._idle_since - self._started, 1e-9)
        values = {
            "time/images_per_second": self._images * trainer.world_size / seconds,
            "time/epoch_seconds": seconds,
            "time/data_share": self._waited / seconds,
        }
        for key, value in values.items():
            pl_module.log(key, value, sync_dist=trainer.world_size > 1)
