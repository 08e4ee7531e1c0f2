"""A callback and data modules as a user writes them."""

import pytorch_lightning as pl
from helpers import Memory, small_batch
from torch.utils.data import DataLoader

from lightning_advinterp.datamodules.base import ImageDataModule


class LogsSomething(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("something", 1.0)


class OnlyTraining(ImageDataModule):
    num_classes, image_size, classes = 5, 16, ()

    def __init__(self, seed: int = 0):
        super().__init__(batch_size=4, num_workers=0, seed=seed)

    def setup(self, stage=None):
        self.train_dataset = Memory(small_batch(n=8))


class OwnLoader(pl.LightningDataModule):
    num_classes, image_size = 5, 16

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed = seed

    def train_dataloader(self):
        return DataLoader(Memory(small_batch(n=8)), batch_size=4)
