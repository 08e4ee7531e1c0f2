"""A data set over the images of a folder, in ImageNet's layout or any other that ``scan`` knows."""

import copy
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.core.names import readable
from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.data.archives import scan_images
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.class_labels import Outputs, map_labels
from lightning_advinterp.data.columns import ALONE, SampleColumns
from lightning_advinterp.data.decode import BadImageError, open_image, orientation, upright
from lightning_advinterp.data.images import ImageSetDefaults
from lightning_advinterp.data.labels import balanced_subset
from lightning_advinterp.data.sampler import EpochDependent, shared_zeros
from lightning_advinterp.data.scan import ALL, UNLABELLED, Split, shorten
from lightning_advinterp.data.split_names import split_of
from lightning_advinterp.data.stores import FolderStore, ImageStore
from lightning_advinterp.data.transforms import EvalTransform, ImageTransform

OnBadImage = Literal["error", "skip"]
Orientation = Literal["stored", "exif"]


class ImageFolderDataset(EpochDependent, ImageSetDefaults):
    """Images of one split as uint8 tensors, with labels and their numbers in the split.

    Random augmentation is a pure function of (seed, epoch, index): it does not depend on batches, workers,
    processes or a resume. The epoch lies in shared memory, so living workers follow :meth:`set_epoch`.

    Args:
        root: the scanned folder.
        split: its images, from :func:`~lightning_advinterp.data.scan.scan_folder`.
        transform: from an opened image to uint8 ``[3, S, S]``.
        num_classes: outputs of the network (1,000 maps wnids to torchvision's indices).
        outputs: what the network's outputs are called, where that is known: labels then go by name.
        on_bad_image: ``error`` names an unreadable file; ``skip`` leaves it out of its batch and counts it.
        orientation: ``stored`` takes pixels as they lie in the file, as torchvision does; ``exif`` turns images by
            their EXIF orientation. Images that carry one are counted either way.
        seed: of the augmentation.
        indices: positions in the split to use; None: all.

    Attributes:
        paths: for each sample its POSIX path relative to ``root``.
        labels: for each sample its label; −1 without class folders.
        indices: for each sample its position in the split, which is ``Batch.index``.
        classes: for each label its wnid or folder name (all wnids for ImageNet labels); empty without labels.
        class_names: for each label a readable name.
        mapping: how the folders became labels; None without class folders.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split,
        *,
        transform: ImageTransform | None = None,
        num_classes: int | None = None,
        outputs: Outputs | None = None,
        on_bad_image: OnBadImage = "error",
        orientation: Orientation = "stored",
        seed: int = 0,
        indices: Sequence[int] | None = None,
    ) -> None:
        if on_bad_image not in ("error", "skip"):
            raise ValueError(f"on_bad_image must be 'error' or 'skip', got {on_bad_image!r}")
        if orientation not in ("stored", "exif"):
            raise ValueError(f"orientation must be 'stored' or 'exif', got {orientation!r}")
        self.root, self.split, self.orientation = Path(root), split, orientation
        self.transform: ImageTransform = EvalTransform() if transform is None else transform
        self.on_bad_image, self.seed = on_bad_image, seed
        self.store: ImageStore = FolderStore(self.root, split.paths) if split.store is None else split.store
        mapping = map_labels(
            split.classes, num_classes, outputs if split.labelled else None, stated=split.numbered and split.labelled
        )
        self.mapping = mapping if split.labelled else None
        self.classes, self.class_names = (mapping.classes, mapping.names) if split.labelled else ([], [])
        self.indices = list(range(len(split.paths)) if indices is None else indices)
        self.paths = [split.paths[i] for i in self.indices]
        positions = [split.positions[i] for i in self.indices]
        self.labels = [UNLABELLED if p == UNLABELLED else mapping.labels[p] for p in positions]
        EpochDependent.__init__(self)
        self._bad, self._turned = _flags(self.paths), _flags(self.paths)
        self._reported = self._reported_turned = 0

    @classmethod
    def from_folder(
        cls,
        root: str | Path,
        split: str = "val",
        *,
        transform: ImageTransform | None = None,
        num_classes: int | None = None,
        outputs: Outputs | None = None,
        on_bad_image: OnBadImage = "error",
        orientation: Orientation = "stored",
        limit: int | None = None,
        seed: int = 0,
        columns: SampleColumns = ALONE,
    ) -> "ImageFolderDataset":
        """Read ``root/<split>`` where the folder has splits, else the whole folder.

        Args:
            root: the folder, tar shards or tables, see :func:`~lightning_advinterp.data.archives.scan_images`.
            split: wanted split; not looked at for a folder without splits.
            transform: resize 256 + centre crop 224 if None.
            num_classes: outputs of the network.
            outputs: what they are called.
            on_bad_image: ``error`` or ``skip``.
            orientation: ``stored`` or ``exif``.
            limit: use a seeded, class-balanced choice of this many images.
            seed: of the choice.
            columns: which parts of samples are image and label, in shards and tables.

        Raises:
            FileNotFoundError: no folder, no image.
            ValueError: the folder has splits, but not this one.
        """
        split = split_of(split) or split
        splits = scan_images(root, columns, split=split)
        if ALL not in splits and split not in splits:
            raise ValueError(f"split must be one of {sorted(splits)} (found in {str(root)!r}), got {split!r}")
        chosen = splits.get(split) or splits[ALL]
        indices = None if limit is None else balanced_subset(chosen.positions, limit, seed)
        return cls(
            root,
            chosen,
            transform=transform,
            num_classes=num_classes,
            outputs=outputs,
            on_bad_image=on_bad_image,
            orientation=orientation,
            seed=seed,
            indices=indices,
        )

    def only(self, items: Sequence[int]) -> "ImageFolderDataset":
        """Return a data set of some of these images, by their places here; they keep their numbers in the split."""
        part = copy.copy(self)
        part.indices = [self.indices[item] for item in items]
        part.paths, part.labels = [self.paths[item] for item in items], [self.labels[item] for item in items]
        part._bad, part._turned = _flags(part.paths), _flags(part.paths)
        part._reported = part._reported_turned = 0
        return part

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int) -> Batch:
        """Return one sample: uint8 ``[3, S, S]``, int64 label, int64 index.

        Raises:
            BadImageError: the file is unreadable (whatever ``on_bad_image`` says: this image was asked for).
        """
        index = self.indices[item]
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, int(self._epoch), index))
        with self.store.open(index) as image:
            if orientation(image) != 1:
                self._turned[item] = True
                pixels = self.transform(upright(image) if self.orientation == "exif" else image, generator)
            else:
                pixels = self.transform(image, generator)
        return Batch(pixels, torch.tensor(self.labels[item]), torch.tensor(index))

    def __getitems__(self, items: Sequence[int]) -> list[Batch]:
        """Return the samples of one batch, without the unreadable ones where they are to be skipped.

        A batch of which nothing is left gets the next readable image of the data set, so that no batch is
        ever empty (on several processes a missing batch would be a deadlock).
        """
        return self.readable(items) or [self._next_readable(items[-1])]

    def readable(self, items: Sequence[int]) -> list[Batch]:
        """Return the samples of one batch, without the unreadable ones where they are to be skipped: maybe none."""
        if self.on_bad_image == "error":
            return [self[item] for item in items]
        return [sample for item in items if (sample := self._readable(item)) is not None]

    def _readable(self, item: int) -> Batch | None:
        try:
            return self[item]
        except BadImageError:
            self._bad[item] = True
            return None

    def _next_readable(self, item: int) -> Batch:
        for step in range(1, len(self)):
            if (sample := self._readable((item + step) % len(self))) is not None:
                return sample
        raise BadImageError(f"none of the {len(self)} images in {str(self.root)!r} can be read")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentation comes next, and report images skipped since the last report."""
        self.report_bad_images()
        super().set_epoch(epoch)

    @property
    def bad_images(self) -> list[str]:
        """Paths of the images found unreadable so far, by this process and by the loader's workers."""
        return [self.paths[item] for item in self._bad.nonzero().flatten().tolist()]

    @property
    def turned_images(self) -> list[str]:
        """Paths of the images read so far that carry an EXIF orientation other than upright."""
        return [self.paths[item] for item in self._turned.nonzero().flatten().tolist()]

    def report_bad_images(self) -> None:
        """Warn about images skipped, or with an EXIF orientation, if there are new ones since the last report."""
        turned = self.turned_images
        if len(turned) > self._reported_turned:
            self._reported_turned = len(turned)
            done = "were turned by it" if self.orientation == "exif" else "are taken as stored, as in torchvision"
            warnings.warn(
                f"{len(turned)} of {len(self)} images of {str(self.root)!r} (split {self.split.name!r}) carry an EXIF "
                f"orientation and {done} (orientation: stored or exif): {shorten(turned)}",
                stacklevel=2,
            )
        bad = self.bad_images
        if len(bad) > self._reported:
            self._reported = len(bad)
            warnings.warn(
                f"skipped {len(bad)} of {len(self)} images of {str(self.root)!r} (split {self.split.name!r}) "
                f"that cannot be read: {shorten(bad)}",
                stacklevel=2,
            )

    @property
    def labelling(self) -> str | None:
        """Which folder has which label and why, in one line; None without class folders."""
        return None if self.mapping is None else self.mapping.describe(self.split.classes)

    def path_of(self, index: int) -> str:
        """Return the readable path, relative to ``root``, of a sample by its number (``Batch.index``)."""
        return readable(self.split.paths[index])

    @property
    def fingerprint(self) -> str:
        """Short hash of paths and labels (not of pixels): tells two choices of images apart."""
        digest = hashlib.sha256()
        for path, label in zip(self.paths, self.labels, strict=True):
            digest.update(f"{path}\0{label}\n".encode(errors="surrogateescape"))
        if self.orientation == "exif":
            digest.update(b"exif")
        digest.update(self.store.digest.encode())
        return digest.hexdigest()[:16]

    @property
    def stamp(self) -> str:
        """Short hash that changes whenever one of the images is written again; looks at every file."""
        return self.store.stamp(self.indices)


def _flags(paths: Sequence[str]) -> Tensor:
    """Return a flag for each image, which loader workers share."""
    return shared_zeros(len(paths), dtype=torch.bool)


def image_tensor(path: str | Path, resize: int = 256, crop: int = 224) -> Tensor:
    """Read one image file: shorter side to ``resize``, centre ``crop``; uint8 ``[3, crop, crop]``.

    Raises:
        BadImageError: the file cannot be read.
        ValueError: ``crop`` is larger than ``resize``.
    """
    transform = EvalTransform(resize, crop)
    with open_image(path) as image:
        return transform(image)
