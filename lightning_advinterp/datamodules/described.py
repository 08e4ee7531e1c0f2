"""What a data module says of its images: this package's, or any other."""

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl

from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.user_images import as_image_set


@dataclass(frozen=True)
class Described:
    """What a data module says of its images.

    Attributes:
        classes: for each label its wnid or folder; None where it does not say.
        class_names: for each label a name for people; None where it does not say.
        resize: shorter side in pixels before the crop; None where it does not say.
        replays: how often each training batch comes in a row.
        augments_on_device: whether it leaves the augmentation of training batches to its ``augment_batch``.
        validation: the validation images; none where it does not say.
    """

    classes: list[str] | None
    class_names: list[str] | None
    resize: int | None
    replays: int
    augments_on_device: bool
    validation: ImageSet


def describe(data: pl.LightningDataModule | None) -> Described:
    """Return what a data module says of its images, by attributes of the names that this package's have.

    Args:
        data: set up; None where there is none.
    """
    attributes: dict[str, Any] = {name: getattr(data, name, None) for name in ("classes", "class_names", "val_dataset")}
    classes, names, validation = attributes.values()
    return Described(
        classes=None if classes is None else list(classes),
        class_names=None if names is None else list(names),
        resize=getattr(data, "resize", None),
        replays=getattr(data, "replays", 1),
        augments_on_device=bool(getattr(data, "augment_on_device", False)),
        validation=as_image_set([] if validation is None else validation),
    )
