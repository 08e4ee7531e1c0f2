"""Image files that a user names one by one."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lightning_advinterp.core.files import stamp_of
from lightning_advinterp.core.names import readable
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.decode import open_image, upright
from lightning_advinterp.data.image_folder import Orientation
from lightning_advinterp.data.images import ImageSetDefaults
from lightning_advinterp.data.transforms import EvalTransform


class ImageFiles(ImageSetDefaults):
    """Image files of any size, prepared like the images of a data set; their numbers are their places in the list.

    A file has a label where the folder that it lies in is called like a class; all others have −1.

    Args:
        paths: of the files; one that is named twice is there once.
        transform: how they are prepared.
        labels: folder's name to label.
        orientation: ``stored`` or ``exif``, see :class:`~lightning_advinterp.data.image_folder.ImageFolderDataset`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        transform: EvalTransform,
        labels: Mapping[str, int] | None = None,
        orientation: Orientation = "stored",
    ) -> None:
        self.paths, self.transform, self.orientation = list(dict.fromkeys(paths)), transform, orientation
        self.indices = list(range(len(self.paths)))
        folder_labels = labels or {}
        self._labels = [folder_labels.get(Path(path).absolute().parent.name, -1) for path in self.paths]
        self.labels = None  # what some files are called narrows no attack's choice of targets
        self.classes: list[str] = []
        self.class_names: list[str] = []

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Batch:
        """Return one image: uint8 ``[3, S, S]``, int64 label, int64 index.

        Raises:
            BadImageError: the file is unreadable.
        """
        number = self.indices[place]
        with open_image(self.paths[number]) as image:
            pixels = self.transform(upright(image) if self.orientation == "exif" else image)
        return Batch(pixels, torch.tensor(self._labels[place]), torch.tensor(number))

    def only(self, places: Sequence[int]) -> "ImageFiles":
        """Return some of these images; they keep their numbers."""
        part = copy.copy(self)
        part.indices = [self.indices[place] for place in places]
        part._labels = [self._labels[place] for place in places]
        return part

    def path_of(self, number: int) -> str:
        """Return the readable path of an image by its number, as it was named."""
        return readable(self.paths[number])

    @property
    def labelling(self) -> str | None:
        """Which files have labels, in one line; None where none has."""
        named = sum(label >= 0 for label in self._labels)
        return f"labels of {named} of {len(self)} files by the folders that they lie in" if named else None

    @property
    def fingerprint(self) -> str:
        """Short hash of paths and labels."""
        parts = [self.orientation, *(f"{path}\0{self._labels[place]}" for place, path in enumerate(self._own()))]
        return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]

    @property
    def stamp(self) -> str:
        """Short hash that changes whenever one of the files is written again."""
        return stamp_of(Path(path) for path in self._own())

    def _own(self) -> list[str]:
        return [self.paths[number] for number in self.indices]
