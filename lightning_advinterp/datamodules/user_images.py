"""A Lightning data module over data sets that a user has in memory."""

from typing import Any, cast

from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.datamodules.base import ImageDataModule, SizedDataset


class UserImagesDataModule(ImageDataModule):
    """Data sets from elsewhere, with the numbers that random draws derive from, and orders that a resume repeats.

    Args:
        train: of pairs (image, label), see :func:`~lightning_advinterp.data.user_images.as_image_set`: a
            torchvision data set, a list, a ``TensorDataset``. Images are floats in [0, 1] or uint8; augmentation is the
            data set's own.
        val: likewise.
        test: likewise.
        **loading: how images are loaded, as :class:`~lightning_advinterp.datamodules.base.ImageDataModule` says.

    Raises:
        TypeError: if one of them is a stream.
    """

    def __init__(self, train: Any = None, val: Any = None, test: Any = None, **loading: Any) -> None:
        super().__init__(**loading)
        splits = {"train": train, "val": val, "test": test}
        sets = {name: as_image_set(images) for name, images in splits.items() if images is not None}
        self.train_dataset, self.val_dataset, self.test_dataset = (
            cast(SizedDataset | None, sets.get(name)) for name in splits
        )
        named = next(iter(sets.values()), None)
        self.classes = None if named is None else list(named.classes) or None
        self.class_names = None if named is None else list(named.class_names) or None

    def _why_missing(self, name: str) -> str:
        return f"give {name}=DATA_SET"
