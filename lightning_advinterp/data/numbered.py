"""Numbers for the images of a user's loader: random draws of a training derive from them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from lightning_advinterp.data.images import missing_members


class NumberedPair(NamedTuple):
    """An image, its label, and its place in the data set."""

    image: Any
    label: Any
    number: int


class NumberedPairs(Dataset[Any]):
    """A data set whose pairs (image, label) have their place as their number; other items stay as they are.

    Args:
        dataset: map-style.

    Example:
        >>> NumberedPairs([("image", 3), ("image", 1, 70)])[0]
        NumberedPair(image='image', label=3, number=0)
        >>> NumberedPairs([("image", 3), ("image", 1, 70)])[1]
        ('image', 1, 70)
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: int) -> Any:
        item = self.dataset[place]
        if isinstance(item, tuple | list) and len(item) == 2:
            return NumberedPair(item[0], item[1], place)
        return item


class NumberedCollate:
    """Collates items as the user's loader does, and puts the numbers of pairs beside them.

    Args:
        collate: the user's function, which gets the pairs as the user's data set has them.
    """

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, items: Sequence[Any]) -> Any:
        """Return images, labels and numbers, if that is what the user's function makes of pairs."""
        if not all(isinstance(item, NumberedPair) for item in items):
            return self.collate(list(items))
        batch = self.collate([(item.image, item.label) for item in items])
        if not isinstance(batch, tuple | list) or len(batch) != 2 or len(batch[0]) != len(items):
            return batch
        return [*batch, torch.tensor([item.number for item in items])]


def numbered(loader: Any) -> Any:
    """Return a loader of the same batches in the same order, with the images' numbers beside them.

    What is no plain ``DataLoader`` over a map-style data set comes back as it is, and so does a loader over a set of
    images that has numbers.

    Args:
        loader: of pairs (image, label); it stays as it is.
    """
    # A subclass may do more than its arguments say.
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset | NumberedPairs):
        return loader
    if not missing_members(loader.dataset) or loader.batch_sampler is None:
        return loader
    chosen = loader.batch_sampler
    batches: dict[str, Any] = {"batch_sampler": chosen}
    if type(chosen) is BatchSampler:  # Lightning may put another sampler into it
        batches = {"batch_size": chosen.batch_size, "sampler": chosen.sampler, "drop_last": chosen.drop_last}
    return DataLoader(
        NumberedPairs(loader.dataset),
        collate_fn=NumberedCollate(loader.collate_fn),
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        in_order=loader.in_order,
        **batches,
    )
