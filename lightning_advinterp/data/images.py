"""What everything that looks at images asks of a set of images, and a choice of some of them."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Generic, Protocol, TypeVar, cast

from torch.utils.data import Dataset

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.labels import balanced_subset

Value = TypeVar("Value")


class ImageSet(Protocol):
    """Images that have numbers.

    ``images[place]`` counts places from 0. An image's number is its name: ``Batch.index`` and tables hold it, random
    draws derive from it, and it stays the same in every choice of images. A class of a user's own that has all of these
    members is a set as it is; :func:`~lightning_advinterp.data.user_images.as_image_set` makes one of other data sets.
    """

    @property
    def indices(self) -> Sequence[int]:
        """For each place the number of its image."""

    @property
    def labels(self) -> Sequence[int] | None:
        """For each place the label, −1 where it has none; None: labels are known once an image is read, or never."""

    @property
    def classes(self) -> Sequence[str]:
        """For each label its wnid or its folder's name; empty where they are unknown."""

    @property
    def class_names(self) -> Sequence[str]:
        """For each label a name for people; empty where they are unknown."""

    @property
    def fingerprint(self) -> str:
        """Short hash of what tells this set, and this choice of its images, from others."""

    @property
    def stamp(self) -> str | None:
        """Short hash that changes when a file of an image is written again; None for images that are no files."""

    @property
    def labelling(self) -> str | None:
        """How images got their labels, in one line; None where there is nothing to say."""

    @property
    def bad_images(self) -> Sequence[str]:
        """Paths of the images that were skipped so far because they cannot be read."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Batch:
        """Return one image: uint8 in 0–255 or float in [0, 1], its label, its number."""

    def readable(self, places: Sequence[int], /) -> list[Batch]:
        """Return the images at some places, without the unreadable ones where the set skips these: maybe none."""

    def only(self, places: Sequence[int], /) -> "ImageSet":
        """Return a set of some of these images; they keep their numbers."""

    def choice(self, limit: int, seed: int, /) -> list[int]:
        """Return the places of so many images, chosen by a seed."""

    def path_of(self, number: int, /) -> str | None:
        """Return the path of an image by its number, relative to the set's folder; None where it is no file."""

    def report_bad_images(self) -> None:
        """Warn of images that were skipped since the last report."""


def missing_members(dataset: object, protocol: type = ImageSet) -> list[str]:
    """Return what a data set lacks of :class:`ImageSet`, or of a protocol above it; no property is computed."""
    attributes = set(dir(dataset))
    members = ["__len__", "__getitem__"]
    for part in protocol.__mro__:
        if part not in (Protocol, Generic, object):
            members += [name for name in {**vars(part), **part.__annotations__} if not name.startswith("_")]
    return [name for name in members if name not in attributes]


class ImageSetDefaults(Dataset[Batch]):
    """What a set says that has nothing special to say; a set adds ``indices``, ``labels``, ``classes``, ….

    Images are no files, none is skipped, and a choice of them is even over the classes.
    """

    @property
    def stamp(self) -> str | None:
        """See :class:`ImageSet`."""
        return None

    @property
    def labelling(self) -> str | None:
        """See :class:`ImageSet`."""
        return None

    @property
    def bad_images(self) -> Sequence[str]:
        """See :class:`ImageSet`."""
        return []

    def report_bad_images(self) -> None:
        """See :class:`ImageSet`."""

    def readable(self, places: Sequence[int]) -> list[Batch]:
        """See :class:`ImageSet`."""
        return [self[place] for place in places]

    def only(self, places: Sequence[int]) -> "ImageSet":
        """See :class:`ImageSet`."""
        return Choice(cast(ImageSet, self), places)

    def choice(self, limit: int, seed: int) -> list[int]:
        """See :class:`ImageSet`."""
        images = cast(ImageSet, self)
        labels = [0] * len(images) if images.labels is None else images.labels
        return balanced_subset(labels, limit, seed)

    def path_of(self, number: int) -> str | None:
        """See :class:`ImageSet`."""
        return None


class Choice(ImageSetDefaults):
    """Some images of a set, which keep their numbers.

    Args:
        whole: the set.
        places: in it.
    """

    def __init__(self, whole: ImageSet, places: Sequence[int]) -> None:
        self.whole, self.places = whole, list(places)
        self.classes, self.class_names = whole.classes, whole.class_names

    @cached_property
    def indices(self) -> Sequence[int]:
        """See :class:`ImageSet`."""
        return self._chosen(self.whole.indices)

    @cached_property
    def labels(self) -> Sequence[int] | None:
        """See :class:`ImageSet`."""
        labels = self.whole.labels
        return None if labels is None else self._chosen(labels)

    def _chosen(self, values: Sequence[Value]) -> list[Value]:
        return [values[place] for place in self.places]

    @property
    def fingerprint(self) -> str:
        """See :class:`ImageSet`."""
        return hashlib.sha256(f"{self.whole.fingerprint} {self.places}".encode()).hexdigest()[:16]

    @property
    def stamp(self) -> str | None:
        """See :class:`ImageSet`; that of the whole set."""
        return self.whole.stamp

    @property
    def labelling(self) -> str | None:
        """See :class:`ImageSet`."""
        return self.whole.labelling

    @property
    def bad_images(self) -> Sequence[str]:
        """See :class:`ImageSet`; those of the whole set."""
        return self.whole.bad_images

    def report_bad_images(self) -> None:
        """See :class:`ImageSet`."""
        self.whole.report_bad_images()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> Batch:
        """Return one image."""
        return self.whole[self.places[place]]

    def readable(self, places: Sequence[int]) -> list[Batch]:
        """See :class:`ImageSet`."""
        return self.whole.readable([self.places[place] for place in places])

    def path_of(self, number: int) -> str | None:
        """See :class:`ImageSet`."""
        return self.whole.path_of(number)
