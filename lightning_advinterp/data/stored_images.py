"""Adversarial images that are there already, by the number of the image that each was made of.

They are a set that this project wrote (:mod:`lightning_advinterp.data.adversarial_set`), or a plain folder of PNG files
that bear the images' relative names, made by whomever.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_advinterp.data.images import ImageSet

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


def as_pixels(image: Tensor) -> Tensor:
    """Return an image as float32 in [0, 1]."""
    return image.float().div(255) if image.dtype == torch.uint8 else image.float()


def other_size(what: str, shape: Sequence[int], expected: Sequence[int]) -> str:
    """Say that images have another size than the network sees."""
    return (
        f"{what} has {shape[2]} x {shape[1]} pixels, and the network sees {expected[2]} x {expected[1]}; make the "
        "adversarial images in the size that the network sees (--crop)."
    )
