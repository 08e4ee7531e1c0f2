"""Data sets of users, of torchvision and of other libraries as sets of images."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.decode import to_rgb
from lightning_advinterp.data.images import ImageSet, ImageSetDefaults, missing_members
from lightning_advinterp.data.sampler import EpochSampler, ShardSampler
from lightning_advinterp.data.scan import UNLABELLED

_LOOKED_AT = 64
"""So many images, evenly chosen, tell a set without a fingerprint from others."""


def as_image_set(dataset: Any) -> ImageSet:
    """Return whatever a user passes as a set of images.

    - A set that has all members of :class:`~lightning_advinterp.data.images.ImageSet` is returned as it is.
    - A ``DataLoader`` stands for the images of its data set that its sampler chooses, whatever their order.
    - A ``Subset`` is a choice of the images of its data set.
    - A pair of tensors (images ``[N, C, H, W]``, labels ``[N]``) is a ``TensorDataset``.
    - A ``TensorDataset``, a tensor of images, a list of images or of pairs, and any map-style data set of images,
      pairs (image, label) or triples (image, label, number) is wrapped, see :class:`UserImages`.

    Raises:
        TypeError: if it is a stream, or has no length.

    Example:
        >>> images = as_image_set((torch.rand(3, 3, 8, 8), torch.tensor([2, 0, 1])))
        >>> len(images), list(images.labels), list(images.indices)
        (3, [2, 0, 1], [0, 1, 2])
    """
    if not missing_members(dataset):
        return cast(ImageSet, dataset)
    if isinstance(dataset, DataLoader):
        return _images_of(dataset)
    if isinstance(dataset, tuple | list) and len(dataset) == 2 and all(isinstance(part, Tensor) for part in dataset):
        images, labels = dataset
        if images.dim() == 4 and labels.dim() == 1 and len(images) == len(labels):
            return UserImages(TensorDataset(images, labels))
    if isinstance(dataset, Subset):
        return as_image_set(dataset.dataset).only([int(place) for place in dataset.indices])
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"images must be a data set that has a length and numbered items, got {type(dataset).__name__}; make a "
            "list of its items, or a TensorDataset."
        )
    return UserImages(dataset)


def _images_of(loader: "DataLoader[Any]") -> ImageSet:
    """Return the images that a loader shows in an epoch, in the order of its data set."""
    images = as_image_set(loader.dataset)
    if loader.batch_sampler is not None and type(loader.batch_sampler) is not BatchSampler:
        raise TypeError(
            f"images: the loader's {type(loader.batch_sampler).__name__} chooses its batches; give the data set "
            "itself, loader.dataset, or a Subset of it."
        )
    if missing_members(loader.dataset) and loader.collate_fn is not default_collate:
        name = getattr(loader.collate_fn, "__qualname__", type(loader.collate_fn).__name__)
        raise TypeError(
            f"images: the loader's collate_fn {name} may change its images; give the data set itself, loader.dataset, "
            "with what it changes in the data set's transform."
        )
    # A loader that is given batches has a sampler of its own that it does not use.
    sampler = loader.sampler if loader.batch_sampler is None else loader.batch_sampler.sampler
    if isinstance(sampler, SubsetRandomSampler):
        return images.only(sorted(int(place) for place in sampler.indices))
    every = isinstance(sampler, SequentialSampler | ShardSampler | EpochSampler)
    if isinstance(sampler, RandomSampler):
        every = not sampler.replacement and sampler.num_samples == len(images)
    if not every:
        raise TypeError(
            f"images: the loader's {type(sampler).__name__} may choose some images only, or twice; give the data set "
            "itself, loader.dataset, or a Subset of it."
        )
    return images


class UserImages(ImageSetDefaults):
    """A data set from elsewhere.

    An item is an image, a pair (image, label) or a triple (image, label, number). An image is a uint8 tensor in 0–255,
    a float tensor in [0, 1], both ``[C, H, W]``, or a PIL image, which becomes RGB. The networks of this package
    normalise by themselves: values outside [0, 1] are refused.

    What the data set says of itself is taken: ``targets`` or ``labels``, ``classes``, ``class_names``, ``wnids``,
    ``indices``, ``fingerprint``, ``path_of`` and ``readable``. Without them numbers are places unless items have
    numbers of their own, the labels of pairs in memory are read, and others are unknown until an image is read.

    Args:
        dataset: has ``len(dataset)`` and ``dataset[place]``.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.classes = _texts(self._said("wnids") or self._said("classes"))
        self.class_names = _texts(self._said("class_names") or self._said("classes"))

    def _said(self, name: str) -> Any:
        plain = isinstance(self.dataset, Tensor | list | tuple)  # whose attributes mean other things
        return None if plain else getattr(self.dataset, name, None)

    @cached_property
    def indices(self) -> Sequence[int]:
        """See :class:`~lightning_advinterp.data.images.ImageSet`; reads all images where items have own numbers."""
        stated_indices, places = self._said("indices"), range(len(self))
        if stated_indices is not None and len(stated_indices) == len(self):
            return [int(number) for number in stated_indices]
        if not len(self) or not self._own_numbers or len(_parts(self.dataset[0])) < 3:
            return places
        numbers = [int(_parts(self.dataset[place])[2]) for place in places]
        if len(set(numbers)) < len(numbers):
            raise RunStoppedError("images: two images have the same number; numbers must tell images apart.")
        return numbers

    @property
    def _own_numbers(self) -> bool:
        return not isinstance(self.dataset, ConcatDataset)  # each of its parts counts from 0

    @cached_property
    def labels(self) -> Sequence[int] | None:
        """See :class:`~lightning_advinterp.data.images.ImageSet`."""
        transform: Callable[[Any], Any] | None = self._said("target_transform")
        for name in ("targets", "labels"):
            values = self._said(name)
            if values is not None and np.ndim(values) == 1 and len(values) == len(self):
                return [_number(value if transform is None else transform(value), "label") for value in values]
        if isinstance(self.dataset, list | tuple | TensorDataset):
            items = [_parts(self.dataset[place]) for place in range(len(self))]
            if items and all(len(item) > 1 for item in items):
                return [_number(item[1], "label") for item in items]
        return None

    @property
    def labelling(self) -> str:
        """See :class:`~lightning_advinterp.data.images.ImageSet`."""
        return f"labels as {type(self.dataset).__name__} has them"

    @cached_property
    def fingerprint(self) -> str:
        """See :class:`~lightning_advinterp.data.images.ImageSet`; without one of its own, a hash of some images."""
        stated_fingerprint = self._said("fingerprint")
        if stated_fingerprint is not None:
            return str(stated_fingerprint)
        step = max(1, len(self) // _LOOKED_AT)
        digest = hashlib.sha256()
        for place in range(0, len(self), step):
            image, label, _ = self[place]
            digest.update(image.cpu().contiguous().numpy().tobytes() + str(int(label)).encode())
        return digest.hexdigest()[:16]

    def path_of(self, number: int) -> str | None:
        """See :class:`~lightning_advinterp.data.images.ImageSet`."""
        method = self._said("path_of")
        return None if method is None else method(number)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: int) -> Batch:
        """Return one image.

        Raises:
            RunStoppedError: if it is no image, or contradicts what the data set says of it.
        """
        return self._sample(place, self.dataset[place])

    def readable(self, places: Sequence[int]) -> list[Batch]:
        """See :class:`~lightning_advinterp.data.images.ImageSet`."""
        method = self._said("readable")
        return [self[place] for place in places] if method is None else list(method(places))

    def _sample(self, place: int, item: Any) -> Batch:
        parts = _parts(item)
        where = f"image at place {place}"
        image = _image(parts[0], where)
        label = UNLABELLED if len(parts) < 2 or parts[1] is None else _number(parts[1], f"{where}: label")
        if self.labels is not None and label != self.labels[place]:
            raise RunStoppedError(
                f"{where} has the label {label}, but {self.labels[place]} among the labels that its data set lists; "
                "give as labels (targets) what items have."
            )
        number = self._number_of(place, parts)
        return Batch(image, torch.tensor(label), torch.tensor(number))

    def _number_of(self, place: int, parts: Sequence[Any]) -> int:
        if len(parts) < 3 or not self._own_numbers:
            return self.indices[place]
        number = _number(parts[2], "number")
        if self._said("indices") is not None and number != self.indices[place]:
            raise RunStoppedError(
                f"image at place {place} has the number {number}, but {self.indices[place]} in its data set's indices."
            )
        return number


def _parts(item: Any) -> Sequence[Any]:
    """Return image, label and number of an item, as far as it has them."""
    if isinstance(item, tuple | list):
        if not 1 <= len(item) <= 3:
            raise RunStoppedError(
                f"images: an item must be image, label and number or fewer of these, got {len(item)}."
            )
        return item
    return [item]


def _image(value: Any, where: str) -> Tensor:
    """Return a tensor ``[C, H, W]``, uint8 or float in [0, 1]."""
    if isinstance(value, Image.Image):
        value = torch.from_numpy(np.array(to_rgb(value))).permute(2, 0, 1).contiguous()
    pixels = isinstance(value, Tensor) and (value.dtype == torch.uint8 or value.is_floating_point())
    if not isinstance(value, Tensor) or not pixels or value.dim() != 3:
        kind = f"{value.dtype} of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise RunStoppedError(
            f"{where} must be a PIL image or a tensor [C, H, W], uint8 or float in [0, 1], got {kind}; give the data "
            "set a transform such as torchvision's ToTensor."
        )
    if value.is_floating_point() and value.numel():
        low, high = (float(bound) for bound in torch.aminmax(value.detach()))
        if low < -_SLACK or high > 1 + _SLACK:
            raise RunStoppedError(
                f"{where} has values from {low:.4g} to {high:.4g}, and images must lie in [0, 1]: leave Normalize out "
                "of the transform, since the network normalises by itself, and divide values of 0–255 by 255."
            )
    return value.detach()


_SLACK = 1e-3
"""So far outside [0, 1] rounding may come."""


def _number(value: Any, what: str) -> int:
    try:
        if float(value) == int(value):
            return int(value)
    except (TypeError, ValueError, RuntimeError):
        pass
    kind = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else repr(value)[:40]
    raise RunStoppedError(f"images: {what} must be an integer, got {kind}.")


def _texts(names: Any) -> list[str]:
    """Return names of classes as a list; of several names of a class (torchvision's ImageNet) the first."""
    if names is None or isinstance(names, str):
        return []
    return [str(name[0]) if isinstance(name, tuple) and name else str(name) for name in names]
