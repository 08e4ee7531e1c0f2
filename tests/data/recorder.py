"""A module that notes what it is fed; importable, so that spawned processes find it."""

from pathlib import Path

import pytorch_lightning as pl
import torch

from lightning_advinterp.data import Batch


class Recorder(pl.LightningModule):
    """Notes which images each epoch's batches hold, and sums their pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[int, list[tuple[list[int], int]]] = {}

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        noted = (batch.index.tolist(), int(batch.image.sum()))
        self.seen.setdefault(self.current_epoch, []).append(noted)
        return self.weight * batch.image.float().mean()

    def validation_step(self, batch: Batch, _: int) -> None:
        self.log("val/mean", batch.image.float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class SaveSeen(pl.Callback):
    """Writes what a process saw into a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.save(pl_module.seen, self.folder / f"seen{trainer.global_rank}.pt")
