"""CIFAR-10 in memory, with the usual augmentation, as a Lightning data module."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.cifar_classes import CLASS_NAMES, WNIDS
from lightning_advinterp.data.cifar_files import PICKLE_FOLDER, CIFARImages, read_cifar10
from lightning_advinterp.data.labels import balanced_subset, stratified_share
from lightning_advinterp.data.memory_set import MemoryDataset, augment_batch
from lightning_advinterp.datamodules.base import ImageDataModule


class CIFAR10DataModule(ImageDataModule):
    """CIFAR-10: 32×32 pixels, ten classes.

    Reads torchvision's files (``root/cifar-10-batches-py``) or JPEG files
    (``root/{train,test}/<class>/*.jpg``), whichever is found.

    Args:
        root: the folder.
        batch_size: images per batch and process.
        augment: random shifts by up to 4 pixels and flips for training.
        val_share: share of each class's training images set aside for validation; None: train on all of them
            and validate on the test images, as many papers do (choose no checkpoint by it then).
        limit_train: train on a seeded, class-balanced choice of this many images.
        limit_val: likewise for validation and test.
        download: fetch the files where they are missing.
        **loading: how images are loaded, as :class:`~lightning_advinterp.datamodules.base.ImageDataModule` says.
    """

    classes: Sequence[str] = WNIDS
    class_names: Sequence[str] = CLASS_NAMES
    num_classes = 10
    image_size = 32

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 128,
        augment: bool = True,
        val_share: float | None = 0.1,
        limit_train: int | None = None,
        limit_val: int | None = None,
        download: bool = False,
        **loading: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **loading)
        self.root, self.download, self.val_share = Path(root), download, val_share
        self.augment, self.limit_train, self.limit_val = augment, limit_train, limit_val

    def prepare_data(self) -> None:
        """Fetch the files (once per machine), if that was asked for and they are not there."""
        if not self.download or (self.root / PICKLE_FOLDER).is_dir() or (self.root / "train").is_dir():
            return
        from torchvision.datasets import CIFAR10
        from torchvision.datasets.utils import download_and_extract_archive

        download_and_extract_archive(CIFAR10.url, str(self.root), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)

    def setup(self, stage: str | None = None) -> None:
        """Read all images into memory (150 MB for the whole set)."""
        if self.test_dataset is not None:
            return
        splits = read_cifar10(self.root)
        train, test = splits["train"], splits["test"]
        self.test_dataset = self._build(test, range(len(test.labels)), self.limit_val)
        if self.val_share is None:
            used: Sequence[int] = range(len(train.labels))
            self.val_dataset = self.test_dataset
        else:
            used, held_out = stratified_share(train.labels, self.val_share, self.seed)
            self.val_dataset = self._build(train, held_out, self.limit_val)
        self.train_dataset = self._build(train, used, self.limit_train, shift=4 if self.augment else 0)

    def augment_batch(self, batch: Batch, epoch: int) -> Batch:
        """See :class:`ImageDataModule`."""
        assert isinstance(self.train_dataset, MemoryDataset)
        return augment_batch(batch, self.train_dataset.shift, seed=self.seed, epoch=epoch)

    def _build(self, data: CIFARImages, indices: Sequence[int], limit: int | None, shift: int = 0) -> MemoryDataset:
        if limit is not None:
            kept = balanced_subset([data.labels[i] for i in indices], limit, self.seed)
            indices = [indices[i] for i in kept]
        later = self.augment_on_device
        return MemoryDataset(data.images, data.labels, indices=indices, shift=shift, seed=self.seed, later=later)
