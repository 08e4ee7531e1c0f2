"""The labels of an image in the form in which they are counted: which sets of labels its pixels have."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rule = Literal["original", "plain", "lite"]
"""How unions are counted, see :mod:`lightning_advinterp.metrics.dissection`."""


def check_rule(rule: str) -> None:
    """Refuse an unknown counting rule."""
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be one of {', '.join(get_args(Rule))}, got {rule!r}.")


class Vocabulary:
    """The labels of a set as columns of a table, and the category in which each is scored.

    Args:
        labels: label number to its primary category, a number from 0.
        categories: names, in the order of their numbers.
    """

    def __init__(self, labels: Mapping[int, int], categories: Sequence[str]) -> None:
        self.numbers = tuple(sorted(labels))
        self.categories = tuple(categories)
        self.category = np.array([labels[number] for number in self.numbers], dtype=np.int64)
        categories_in_use = set(range(len(categories)))
        if self.numbers and (self.numbers[0] < 1 or not categories_in_use.issuperset(labels.values())):
            raise ValueError(
                f"labels must be numbers from 1 with categories from 0 to {len(categories) - 1}, got "
                f"{self.numbers[0]} as the lowest number and {sorted(set(labels.values()))} as categories."
            )
        self._columns = np.full((self.numbers[-1] if self.numbers else 0) + 1, -1, dtype=np.int64)
        self._columns[list(self.numbers)] = np.arange(len(self.numbers))
        self._columns[0] = len(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def columns(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the columns of label numbers; 0, which is no label, has the column after the last.

        Raises:
            ValueError: for a number that the vocabulary does not have.
        """
        in_range = (numbers >= 0) & (numbers < len(self._columns))
        columns = self._columns[np.where(in_range, numbers, 0)]
        wrong = ~in_range | (columns < 0)
        if wrong.any():
            raise ValueError(f"label maps hold label number {int(numbers[wrong][0])}, which is not among the labels.")
        return columns


class ImageLabels(NamedTuple):
    """One image's labels.

    Attributes:
        signature: int64 ``[P]``, which set of labels each pixel has.
        labels: int64 ``[S, K]``, the columns of each set; the column after the last fills up.
        present: bool ``[C]``, which categories some label of the image belongs to.
    """

    signature: Tensor
    labels: Tensor
    present: Tensor


def image_labels(
    maps: Mapping[int, NDArray[np.int32]],
    whole: Mapping[int, Sequence[int]],
    vocabulary: Vocabulary,
    size: tuple[int, int],
    rule: Rule = "original",
) -> ImageLabels:
    """Prepare one image's labels for counting.

    Args:
        maps: category to label numbers ``[L, H, W]``, several layers where regions overlap; 0 is none.
        whole: category to the numbers of labels of the whole image.
        vocabulary: all labels.
        size: height and width of the label maps, also for an image without any.
        rule: ``plain`` takes each pixel's labels as a set; the others count a label once for every layer that has it.

    Raises:
        ValueError: if maps are not of ``size``, or hold unknown labels.
    """
    pixels, none = size[0] * size[1], len(vocabulary)
    layers = []
    for category, stack in maps.items():
        if stack.shape[1:] != size:
            raise ValueError(f"label maps must be {size}, got {stack.shape[1:]} in category {category}.")
        layers += [vocabulary.columns(layer.reshape(-1)) for layer in stack]
    image = vocabulary.columns(np.array([number for numbers in whole.values() for number in numbers], dtype=np.int64))
    signature, sets = np.zeros(pixels, dtype=np.int64), np.zeros((1, 0), dtype=np.int64)
    for layer in layers:
        codes = signature * (none + 1) + layer
        present_numbers = np.zeros(len(sets) * (none + 1), dtype=bool)
        present_numbers[codes] = True
        signatures = np.flatnonzero(present_numbers)
        places = np.cumsum(present_numbers) - 1
        signature = places[codes]
        sets = np.concatenate([sets[signatures // (none + 1)], (signatures % (none + 1))[:, None]], axis=1)
    sets = np.concatenate([sets, np.broadcast_to(image, (len(sets), len(image)))], axis=1)
    sets = np.sort(sets, axis=1)
    if rule == "plain" and sets.shape[1] > 1:
        sets[:, 1:][sets[:, 1:] == sets[:, :-1]] = none
    present = np.zeros(len(vocabulary.categories), dtype=bool)
    present[vocabulary.category[sets[sets < none]]] = True
    return ImageLabels(torch.from_numpy(signature), torch.from_numpy(sets), torch.from_numpy(present))


class BatchLabels(NamedTuple):
    """The labels of a batch, ready for counting.

    Attributes:
        signature: int64 ``[B, P]``, each image's own numbers.
        first: int64 ``[B]``, where each image's sets begin in ``labels``.
        labels: int64 ``[T, K]``, the columns of all images' sets.
        present: bool ``[B, C]``.
        most: the largest number of sets of an image.
    """

    signature: Tensor
    first: Tensor
    labels: Tensor
    present: Tensor
    most: int

    def of(self, images: slice) -> "BatchLabels":
        """Return the labels of some of the images."""
        signature, first, present = (field[images] for field in (self.signature, self.first, self.present))
        return self._replace(signature=signature, first=first, present=present, most=int(signature.max()) + 1)


def batch_labels(
    images: Sequence[ImageLabels], vocabulary: Vocabulary, device: torch.device | None = None
) -> BatchLabels:
    """Join the labels of several images."""
    widest = max(image.labels.shape[1] for image in images)
    padded = [
        torch.nn.functional.pad(image.labels, (0, widest - image.labels.shape[1]), value=len(vocabulary))
        for image in images
    ]
    sizes = torch.tensor([len(image.labels) for image in images])
    joined = BatchLabels(
        torch.stack([image.signature for image in images]),
        sizes.cumsum(0) - sizes,
        torch.cat(padded),
        torch.stack([image.present for image in images]),
        int(sizes.max()),
    )
    return joined._replace(**{key: value.to(device) for key, value in joined._asdict().items() if key != "most"})
