"""Adversarial images of a plain folder, whose files bear the names of the images that they were made of."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.core.files import stamp_of
from lightning_advinterp.data.adversarial_parts import MANIFEST
from lightning_advinterp.data.decode import open_image, to_rgb
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.stored_images import StoredImages, name_of, other_size
from lightning_advinterp.data.stored_set import SetImages


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
                    raise ValueError(other_size(str(self._paths[number]), shape, (channels, height, width)))

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


def _candidates(folder: Path, name: str) -> list[Path]:
    """Return where the adversarial image of a name may lie; never outside the folder."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        return []
    return [folder / f"{name}.png", (folder / name).with_suffix(".png")]
