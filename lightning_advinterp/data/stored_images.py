"""Adversarial images that are there already, by the number of the image that each was made of.

They are a set that this project wrote (:mod:`lightning_advinterp.data.adversarial_set`), or a plain folder of PNG files
that bear the images' relative names, made by whomever.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.files import stamp_of
from lightning_advinterp.data.adversarial_parts import MANIFEST, AdversarialRow
from lightning_advinterp.data.adversarial_set import AdversarialSet
from lightning_advinterp.data.decode import open_image, to_rgb
from lightning_advinterp.data.images import ImageSet

_COMPARED = 64
"""So many images, evenly chosen, are held against their sources before any work; the others when they are shown."""

_NAMED = 5
"""So many missing images are named."""


class Aim(NamedTuple):
    """What an attack wanted of its images.

    Attributes:
        target: int64 ``[B]``, the classes aimed at, or moved away from.
        targeted: whether they were aimed at.
    """

    target: Tensor
    targeted: bool


def name_of(images: ImageSet, number: int) -> str:
    """Return what an image is called: its path relative to the data's folder, or its number."""
    return images.path_of(number) or str(number)


class StoredImages(ABC):
    """Adversarial images by the number of their source.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def holds(self, number: int) -> bool:
        """Whether there is an adversarial image of a source."""

    @abstractmethod
    def read(self, number: int) -> Tensor:
        """Return an image, ``[C, H, W]``, uint8 or float32 in [0, 1].

        Raises:
            BadImageError: if it cannot be read.
        """

    @abstractmethod
    def check(self, images: ImageSet) -> None:
        """Refuse images that are none of a data set's, all of which are there.

        Raises:
            ValueError: saying what differs.
        """

    @property
    @abstractmethod
    def stamp(self) -> str:
        """Short hash that changes with the images."""

    def aim(self, numbers: Sequence[int]) -> Aim | None:
        """Return what the attack wanted of some images; None where nothing is recorded."""
        return None

    def compare(self, numbers: Sequence[int], stored: Tensor, source: Tensor) -> None:  # noqa: B027
        """Refuse images ``[B, C, H, W]`` that are not as far from their sources as was recorded.

        Raises:
            RunStoppedError: naming the first image.
        """

    def missing(self, images: ImageSet) -> list[int]:
        """Return the numbers of a data set's images without an adversarial one."""
        return [number for number in images.indices if not self.holds(number)]

    def require_all(self, images: ImageSet, remedy: str) -> None:
        """Refuse a data set of whose images some are missing, naming and counting them.

        Raises:
            ValueError: ending with the remedy.
        """
        missing = self.missing(images)
        if missing:
            named = ", ".join(repr(name_of(images, number)) for number in missing[:_NAMED])
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise ValueError(
                f"{self.folder} has no adversarial image of {len(missing)} of the {len(images)} images: {named}{more}; "
                f"{remedy}"
            )


class SetImages(StoredImages):
    """The images of a set that this project wrote.

    Args:
        folder: of the set.
        rank: which of several adversarial images of a source, 1 the first; None: there is one of each.

    Raises:
        FileNotFoundError, DamagedFileError: as :class:`~lightning_advinterp.data.adversarial_set.AdversarialSet`.
        ValueError: if there are several images of a source and none is chosen, or not as many.
    """

    def __init__(self, folder: Path, rank: int | None = None) -> None:
        super().__init__(folder)
        self.set = AdversarialSet(folder)
        places: dict[int, list[int]] = {}
        for place, row in enumerate(self.set.rows):
            places.setdefault(row.source, []).append(place)
        most = max(map(len, places.values()), default=1)
        if rank is None and most > 1:
            raise ValueError(
                f"{folder} holds {most} adversarial images of one image, one for each target; choose by target_rank: "
                f"1 (the least likely class) to {most}."
            )
        if rank is not None and not 1 <= rank <= most:
            raise ValueError(f"target_rank must be 1 to {most} for the set {folder}, got {rank}.")
        chosen = 0 if rank is None else rank - 1
        self._places = {source: found[chosen] for source, found in places.items() if len(found) > chosen}

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the set says of itself."""
        return self.set.manifest

    @property
    def targeted(self) -> bool:
        """Whether the set's attack aimed at classes.

        A row tells by its success, which is ``predicted == target`` towards a target and the opposite away from a
        label; rows whose target is the true class do not, since such an image is not attacked.
        """
        told = [row.success == (row.predicted == row.target) for row in self.set.rows if row.target != row.label]
        return any(told)

    def holds(self, number: int) -> bool:
        """Whether there is an adversarial image of a source."""
        return number in self._places

    def row(self, number: int) -> AdversarialRow:
        """Return what is recorded of the image of a source."""
        return self.set.rows[self._places[number]]

    def read(self, number: int) -> Tensor:
        """Return an image as it was kept."""
        return self.set[self._places[number]].image

    def aim(self, numbers: Sequence[int]) -> Aim:
        """Return the classes that are recorded."""
        return Aim(torch.tensor([self.row(number).target for number in numbers]), self.targeted)

    def check(self, images: ImageSet) -> None:
        """Hold files against their checksums, and shape, labels and some images against the data set's."""
        damaged = self.set.verify()
        if damaged:
            raise ValueError(f"{self.folder}: {', '.join(damaged)} is not what was written; make the set anew.")
        numbers = images.indices
        for number, label in zip(numbers, images.labels or [], strict=False):  # no labels: none to compare
            if -1 not in (label, self.row(number).label) and self.row(number).label != label:
                raise ValueError(
                    f"{self.folder} is a set of other images: {name_of(images, number)!r} has the label {label}, and "
                    f"{self.row(number).label} in the set; give the data that it was made of."
                )
        shape, expected = tuple(self.manifest["shape"]), tuple(images[0].image.shape)
        if shape != expected:
            raise ValueError(_other_size(str(self.folder), shape, expected))
        for place in range(0, len(images), max(1, len(images) // _COMPARED)):
            try:
                source = as_pixels(images[place].image)[None]
                self.compare([numbers[place]], as_pixels(self.read(numbers[place]))[None], source)
            except RunStoppedError as error:
                raise ValueError(str(error)) from None

    def compare(self, numbers: Sequence[int], stored: Tensor, source: Tensor) -> None:
        """Hold the distance of every image to its source against the recorded one.

        The distance is of the kept image, so that it is the recorded one but for rounding. The tolerance, a tenth of a
        grey level and 2 %, is for decoders that differ; another image is many times as far away.
        """
        measured = (stored - source).flatten(1).double().norm(dim=1).tolist()
        slack = 0.1 / 255 * source[0].numel() ** 0.5
        for number, l2 in zip(numbers, measured, strict=True):
            recorded = self.row(number).l2
            if abs(l2 - recorded) > slack + 0.02 * recorded:
                raise RunStoppedError(
                    f"{self.folder} is a set of other images, or of images prepared otherwise: image {number} is "
                    f"{l2:.4g} (L2) from its adversarial image, {recorded:.4g} is recorded; give the data, --crop and "
                    "--resize that it was made with"
                )

    @property
    def stamp(self) -> str:
        """Short hash of the manifest and of when the parts were last changed."""
        return stamp_of(sorted(path for path in self.folder.glob("*") if path.suffix in (".json", ".zip")))


class FolderImages(StoredImages):
    """PNG files that bear the images' names relative to the data's folder: ``a/b.jpg`` is ``a/b.png``.

    ``a/b.jpg.png`` is taken as well, and needed where ``a/b.jpg`` and ``a/b.png`` are two images of the data.

    Args:
        folder: where they are.
        images: the data set, whose names they bear.

    Raises:
        ValueError: if two images share a file.
    """

    def __init__(self, folder: Path, images: ImageSet) -> None:
        super().__init__(folder)
        self._paths: dict[int, Path] = {}
        owner: dict[Path, str] = {}
        for number in images.indices:
            name = name_of(images, number)
            path = next((path for path in _candidates(folder, name) if path.is_file()), None)
            if path is None:
                continue
            if path in owner:
                raise ValueError(
                    f"{path} would be the adversarial image of {owner[path]!r} and of {name!r}; name the "
                    f"files {name + '.png'!r} and so on."
                )
            owner[path] = name
            self._paths[number] = path

    def holds(self, number: int) -> bool:
        """Whether there is a file for a source."""
        return number in self._paths

    def read(self, number: int) -> Tensor:
        """Return an image's 8-bit pixels."""
        with open_image(self._paths[number], ("PNG",)) as image:
            return torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)

    def check(self, images: ImageSet) -> None:
        """Hold every file's kind and size against the data set's; pixels are decoded when they are shown."""
        channels, height, width = images[0].image.shape
        for number in images.indices:
            with open_image(self._paths[number], ("PNG",)) as image:
                if image.size != (width, height):
                    shape = (channels, image.height, image.width)
                    raise ValueError(_other_size(str(self._paths[number]), shape, (channels, height, width)))

    @property
    def stamp(self) -> str:
        """Short hash of when the files were last changed."""
        return stamp_of(self._paths[number] for number in sorted(self._paths))


def open_stored(folder: str | Path, images: ImageSet, rank: int | None = None) -> StoredImages:
    """Open a set, or a plain folder.

    Args:
        folder: with a manifest it is a set.
        images: the data set of the sources.
        rank: which image of a source, where a set has several.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: saying what is wrong with it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"path: there is no folder {str(folder)!r} of adversarial images.")
    if (folder / MANIFEST).exists():
        return SetImages(folder, rank)
    if rank is not None:
        raise ValueError(f"target_rank={rank} chooses among the images of a set; the folder {folder} is none.")
    return FolderImages(folder, images)


def as_pixels(image: Tensor) -> Tensor:
    """Return an image as float32 in [0, 1]."""
    return image.float().div(255) if image.dtype == torch.uint8 else image.float()


def _candidates(folder: Path, name: str) -> list[Path]:
    """Return where the adversarial image of a name may lie; never outside the folder."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        return []
    return [folder / f"{name}.png", (folder / name).with_suffix(".png")]


def _other_size(what: str, shape: Sequence[int], expected: Sequence[int]) -> str:
    return (
        f"{what} has {shape[2]} x {shape[1]} pixels, and the network sees {expected[2]} x {expected[1]}; make the "
        "adversarial images in the size that the network sees (--crop)."
    )
