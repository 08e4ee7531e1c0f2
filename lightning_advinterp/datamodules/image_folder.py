"""The Lightning data module over image folders."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_info

from lightning_advinterp.data.archives import scan_images
from lightning_advinterp.data.class_labels import LabelMap, map_labels
from lightning_advinterp.data.columns import SampleColumns
from lightning_advinterp.data.image_folder import ImageFolderDataset, OnBadImage, Orientation
from lightning_advinterp.data.labels import balanced_subset, stratified_share
from lightning_advinterp.data.scan import ALL, Split, shorten
from lightning_advinterp.data.transforms import EvalTransform, ImageTransform, TrainTransform
from lightning_advinterp.datamodules.base import ImageDataModule

_STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("val", "test")}


class ImageFolderDataModule(ImageDataModule):
    """Images in ImageNet's layout (``train/<wnid>``, ``val/<wnid>``), or any folder of class folders.

    Where there is no ``val`` split, a seeded, stratified share of the training images takes its place.

    Args:
        root: folder with ``train``, ``val``, ``test`` or with the class folders themselves; or tar shards of
            WebDataset, or parquet or arrow files of Hugging Face ``datasets``, see
            :mod:`~lightning_advinterp.data.archives`.
        batch_size: images per batch and process.
        image_size: side of the square the network sees, in pixels.
        resize: shorter side before the centre crop; None: ``round(image_size * 256 / 224)``.
        train_scale: least and greatest share of a training image's area that is cropped.
        augment: random crops and flips for training; False: the evaluation's resize and crop.
        on_bad_image: ``error`` stops at an unreadable file; ``skip`` leaves it out and warns with the count.
        orientation: ``stored`` takes pixels as they lie in the file, as torchvision does; ``exif`` turns images by
            their EXIF orientation.
        num_classes: outputs of the network; 1,000 maps wnids to torchvision's class indices.
        limit_train: train on a seeded, class-balanced choice of this many images.
        limit_val: likewise for validation and test.
        val_share: share of each class set aside for validation where there is no ``val`` split.
        val_from_train: set that share aside even where there is a ``val`` split, which then stays untouched for a
            final test.
        image_column: of tables and shards, which part of a sample is the image, where several may be meant.
        label_column: likewise the label: a column, or a file's ending such as ``cls`` or ``json.label``.
        **loading: how images are loaded, as :class:`~lightning_advinterp.datamodules.base.ImageDataModule` says.

    Raises:
        ValueError: an argument out of range, or (on reading) classes that do not fit; FileNotFoundError: no
            folder or no images. Both say what was found.
    """

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 100,
        image_size: int = 224,
        resize: int | None = None,
        train_scale: tuple[float, float] = (0.08, 1.0),
        augment: bool = True,
        on_bad_image: OnBadImage = "error",
        orientation: Orientation = "stored",
        num_classes: int | None = None,
        limit_train: int | None = None,
        limit_val: int | None = None,
        val_share: float = 0.1,
        val_from_train: bool = False,
        image_column: str | None = None,
        label_column: str | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, augment_on_device=False, **loading)
        self.root, self.image_size = Path(root), image_size
        self.on_bad_image, self.val_share, self.val_from_train = on_bad_image, val_share, val_from_train
        self.orientation = orientation
        self.limit_train, self.limit_val = limit_train, limit_val
        self._outputs = num_classes
        self.columns = SampleColumns(image_column, label_column)
        self.resize = round(image_size * 256 / 224) if resize is None else resize
        self._eval = EvalTransform(self.resize, image_size)
        self._train = TrainTransform(image_size, (train_scale[0], train_scale[1])) if augment else self._eval

    def setup(self, stage: str | None = None) -> None:
        """Build the data sets of a stage (``fit``, ``validate``, ``test``); all of them for None."""
        if not any((self.train_dataset, self.val_dataset, self.test_dataset)) and self._folders:
            rank_zero_info(self._labels.describe(self._folders))
        wanted = {name for names in _STAGES.values() for name in names} if stage is None else _STAGES[stage]
        if "train" in wanted and self.train_dataset is None and "train" in self._choices:
            self.train_dataset = self._build("train", self._train, self.limit_train)
        if "val" in wanted and self.val_dataset is None and "val" in self._choices:
            self.val_dataset = self._build("val", self._eval, self.limit_val)
        if "test" in wanted and self.test_dataset is None and "test" in self._choices:
            self.test_dataset = self._build("test", self._eval, self.limit_val)

    @property
    def classes(self) -> list[str]:
        """For each label its wnid or folder name (all 1,000 wnids where labels are ImageNet's)."""
        return self._labels.classes

    @property
    def class_names(self) -> list[str]:
        """For each label a readable name."""
        return self._labels.names

    @property
    def num_classes(self) -> int:
        """Outputs the network needs: as given, else the number of class folders."""
        outputs = len(self.classes) if self._outputs is None else self._outputs
        if outputs < 2:
            raise ValueError(
                f"root: {str(self.root)!r} holds one class folder ({shorten(self._folders)}), and a classifier needs "
                "two classes or more; point root to the folder that holds all class folders"
            )
        return outputs

    @cached_property
    def _splits(self) -> dict[str, Split]:
        try:
            return scan_images(self.root, self.columns)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}; name another by root, which train.py knows as --data.init_args.root"
            ) from None

    @property
    def _folders(self) -> list[str]:
        return next((split.classes for split in self._splits.values() if split.labelled), [])

    @cached_property
    def _labels(self) -> LabelMap:
        if not self._folders:
            raise ValueError(
                f"root must hold class folders (DIR/<class>/*.jpg or DIR/<split>/<class>/*.jpg), "
                f"found only images without labels in {str(self.root)!r}"
            )
        numbered = any(split.numbered for split in self._splits.values())
        return map_labels(self._folders, self._outputs, stated=numbered)

    @cached_property
    def _choices(self) -> dict[str, tuple[Split, Sequence[int]]]:
        """For each of train, val, test that exists: where it comes from, and which of its images."""
        splits = dict(self._splits)
        train = splits.pop("train", None) or splits.pop(ALL, None)
        choices = {name: (split, range(len(split.paths))) for name, split in splits.items()}
        chosen: dict[str, tuple[Split, Sequence[int]]] = dict(choices)
        if train is not None and "val" in splits and not self.val_from_train:
            chosen["train"] = (train, range(len(train.paths)))
        elif train is not None:
            rest, share = stratified_share(train.positions, self.val_share, self.seed)
            chosen["train"], chosen["val"] = (train, rest), (train, share)
        return chosen

    def _build(self, name: str, transform: ImageTransform, limit: int | None) -> ImageFolderDataset:
        split, indices = self._choices[name]
        if name != "test" and not split.labelled:
            raise ValueError(
                f"the {name!r} images must lie in class folders, found {len(split.paths)} images without "
                f"labels in {str(self.root)!r} (split {split.name!r})"
            )
        if limit is not None:
            chosen = balanced_subset([split.positions[i] for i in indices], limit, self.seed)
            indices = [indices[i] for i in chosen]
        return ImageFolderDataset(
            self.root,
            split,
            transform=transform,
            num_classes=self._outputs,
            on_bad_image=self.on_bad_image,
            orientation=self.orientation,
            seed=self.seed,
            indices=indices,
        )

    def _why_missing(self, name: str) -> str:
        if name in self._choices:
            return "call setup() first"
        return f"{str(self.root)!r} has the splits {', '.join(self._splits)}; add the folder {name}/"
