"""What the image data modules have in common: data sets in, loaders out."""

from typing import Any, Protocol, cast

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.loaders import TrainLoader, Workers, make_loader, worker_count
from lightning_advinterp.data.sampler import EpochSampler, ShardSampler
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.datamodules.lightning_internals import epochs_processed


class SizedDataset(Protocol):
    """A map-style data set of samples."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Batch: ...


class ImageDataModule(pl.LightningDataModule):
    """Loaders over ``train_dataset``, ``val_dataset``, ``test_dataset``, which a subclass's ``setup`` sets.

    The training order is a pure function of (seed, epoch), also on several processes and after a resume;
    an incomplete last training batch is left out unless it is the only one. Evaluations see every image once.

    Args:
        batch_size: images per batch and process.
        num_workers: worker processes per loader; ``auto``: the cores of this process, at most 8.
        seed: of order, augmentation and choices.
        pin_memory: None: where there is a CUDA device.
        prefetch: batches that each worker prepares ahead.
        replays: how often each training batch comes in a row, the same images with the same augmentation, for the
            objective ``Free``. An epoch has so many times more steps; divide ``max_epochs`` by it.
        augment_on_device: augment where the network is instead of in the loader, with the same draws.

    Attributes:
        train_dataset: set by ``setup``; None where there is no such split.
        val_dataset: likewise.
        test_dataset: likewise.
    """

    def __init__(
        self,
        *,
        batch_size: int = 100,
        num_workers: Workers = "auto",
        seed: int = 0,
        pin_memory: bool | None = None,
        prefetch: int = 2,
        replays: int = 1,
        augment_on_device: bool = False,
    ) -> None:
        super().__init__()
        if replays < 1:
            raise ValueError(f"replays must be at least 1, got {replays}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        worker_count(num_workers)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.pin_memory, self.prefetch, self.replays = pin_memory, prefetch, replays
        self.augment_on_device = augment_on_device
        self.train_dataset: SizedDataset | None = None
        self.val_dataset: SizedDataset | None = None
        self.test_dataset: SizedDataset | None = None
        self._train_loader: TrainLoader | None = None
        self._resumed: dict[str, Any] | None = None

    def train_dataloader(self) -> "DataLoader[Batch]":
        """Shuffled anew in each epoch."""
        data = self._dataset("train")
        rank, world_size = self._place
        sampler = EpochSampler(data, self.seed, rank=rank, world_size=world_size)
        sampler.set_epoch(_coming_epoch(self.trainer) if self._resumed is None else self._resumed["epoch"])
        loader = self._loader(data, sampler, drop_last=len(sampler) >= self.batch_size, replays=self.replays)
        self._train_loader = cast(TrainLoader, loader)
        if self._resumed is not None:
            self._train_loader.load_state_dict(self._resumed["order"])
            self._resumed = None
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch that comes next, and the place within the epoch under way."""
        if self._train_loader is None:
            return {}
        return {"epoch": _coming_epoch(self.trainer), "order": self._train_loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the place for the loader, which may be built before Lightning tells where the training goes on."""
        self._resumed = state_dict

    def val_dataloader(self) -> "DataLoader[Batch] | list[DataLoader[Batch]]":
        """In order, every image once, on one process or several; no loader where there are no validation images."""
        if self.train_dataset is not None and not self.val_dataset:
            return []
        return self._evaluation_loader("val")

    def test_dataloader(self) -> "DataLoader[Batch]":
        """In order, every image once, on one process or several."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> "DataLoader[Batch]":
        """The test images where there are any, else the validation images."""
        return self._evaluation_loader("val" if self.test_dataset is None else "test")

    def augment_batch(self, batch: Batch, epoch: int) -> Batch:
        """Augment a training batch (uint8) on its device; asked only with ``augment_on_device``.

        All draws are a pure function of (seed, epoch, index): batch, process and resume do not matter, and the images
        are those that the loader would have made.
        """
        raise ValueError(
            f"augment_on_device: {type(self).__name__} augments its images while it reads them; leave it out."
        )

    def teardown(self, stage: str) -> None:
        """Report the images that were skipped."""
        for data in (self.train_dataset, self.val_dataset, self.test_dataset):
            if data is not None:
                as_image_set(data).report_bad_images()

    def _dataset(self, name: str) -> SizedDataset:
        data = cast(SizedDataset | None, getattr(self, f"{name}_dataset"))
        if data is None:
            raise ValueError(f"{type(self).__name__} has no {name!r} data: {self._why_missing(name)}")
        return data

    def _why_missing(self, name: str) -> str:
        return "call setup() first"

    @property
    def _place(self) -> tuple[int, int]:
        """This process's number, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _evaluation_loader(self, name: str) -> "DataLoader[Batch]":
        data, (rank, world_size) = self._dataset(name), self._place
        return self._loader(data, ShardSampler(data, rank=rank, world_size=world_size) if world_size > 1 else None)

    def _loader(
        self, data: SizedDataset, sampler: Sampler[int] | None = None, drop_last: bool = False, replays: int = 1
    ) -> "DataLoader[Batch]":
        processes = self.trainer.num_devices if self.trainer else 1
        return make_loader(
            cast(Dataset[Batch], data),
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=worker_count(self.num_workers, processes),
            pin_memory=self.pin_memory,
            prefetch=self.prefetch,
            replays=replays,
        )


def _coming_epoch(trainer: "pl.Trainer | None") -> int:
    """Return the epoch that the loader built now will serve first.

    On a resume Lightning starts the workers, which fetch ahead, before it tells samplers the epoch; so the
    loader must know by itself.
    """
    if trainer is None:
        return 0
    return epochs_processed(trainer)
