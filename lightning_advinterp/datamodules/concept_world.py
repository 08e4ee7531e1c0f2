"""The concept world as a Lightning data module."""

from typing import Any

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.concept_world.classes import CLASSES
from lightning_advinterp.data.concept_world.dataset import ConceptWorld
from lightning_advinterp.data.loaders import Workers
from lightning_advinterp.data.memory_set import augment_batch
from lightning_advinterp.datamodules.base import ImageDataModule


class ConceptWorldDataModule(ImageDataModule):
    """Twelve classes of rendered pictures; needs no download and no disk.

    Args:
        train_size: number of training pictures.
        val_size: number of validation pictures.
        test_size: number of test pictures.
        image_size: width and height in pixels.
        seed: number of the world (other seeds give other pictures), and seed of order and augmentation.
        batch_size: images per batch and process.
        num_workers: worker processes per loader. The pictures lie in memory, so 0 (load in the main process)
            is fastest.
        augment: random shifts by up to a sixteenth of the width, and flips, for training.
        **loading: how images are loaded, as :class:`~lightning_advinterp.datamodules.base.ImageDataModule` says.

    Example:
        >>> data = ConceptWorldDataModule(val_size=12, image_size=32, batch_size=8)
        >>> data.setup("validate")
        >>> next(iter(data.val_dataloader())).image.shape
        torch.Size([8, 3, 32, 32])
    """

    train_dataset: ConceptWorld | None
    val_dataset: ConceptWorld | None
    test_dataset: ConceptWorld | None

    def __init__(
        self,
        train_size: int = 4000,
        val_size: int = 1000,
        test_size: int = 1000,
        image_size: int = 64,
        seed: int = 0,
        batch_size: int = 64,
        num_workers: Workers = 0,
        augment: bool = True,
        **loading: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed, **loading)
        for name, value in (("train_size", train_size), ("val_size", val_size), ("test_size", test_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.train_size, self.val_size, self.test_size = train_size, val_size, test_size
        self.image_size, self.augment = image_size, augment

    @property
    def classes(self) -> list[str]:
        """WordNet ids in the order of the class indices."""
        return [c.wnid for c in CLASSES]

    @property
    def class_names(self) -> list[str]:
        """English names in the order of the class indices."""
        return [c.name for c in CLASSES]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(CLASSES)

    def augment_batch(self, batch: Batch, epoch: int) -> Batch:
        """See :class:`~lightning_advinterp.datamodules.base.ImageDataModule`."""
        assert self.train_dataset is not None
        return augment_batch(batch, self.train_dataset.shift, seed=self.seed, epoch=epoch)

    def setup(self, stage: str | None = None) -> None:
        """Make the three data sets, and render those that ``stage`` needs (all of them if it is None)."""
        if self.train_dataset is None:
            shift = max(1, self.image_size // 16) if self.augment else 0
            size, seed = self.image_size, self.seed
            later = self.augment_on_device
            self.train_dataset = ConceptWorld("train", self.train_size, size=size, seed=seed, shift=shift, later=later)
            self.val_dataset = ConceptWorld("val", self.val_size, size=size, seed=seed)
            self.test_dataset = ConceptWorld("test", self.test_size, size=size, seed=seed)
        wanted = {
            "fit": (self.train_dataset, self.val_dataset),
            "validate": (self.val_dataset,),
            "test": (self.test_dataset,),
            "predict": (self.test_dataset,),
        }
        every = (self.train_dataset, self.val_dataset, self.test_dataset)
        for data in every if stage is None else wanted.get(stage, ()):
            if data is not None:
                data.prepare()
