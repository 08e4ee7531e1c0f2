"""One process's part of a data set, and how its batches are put together."""

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from lightning_advinterp.analyses.base.protocol import Sweep
from lightning_advinterp.data.batch import Batch, check_range
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.loaders import collate_batch


class Shard(Dataset[Batch]):
    """One process's part of a data set: unreadable images are missing from a batch, and never replaced by others."""

    def __init__(self, images: ImageSet, places: Sequence[int]) -> None:
        self.images, self.places = images, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitems__(self, places: Sequence[int]) -> list[Batch]:
        return self.images.readable([self.places[place] for place in places])


def collate_readable(samples: Sequence[Batch]) -> Batch | None:
    """Return a batch; None where no image could be read."""
    return collate_batch(samples) if samples else None


def checked(batch: Batch, wants: Sweep, outputs: int, device: torch.device) -> Batch:
    """Return a batch as float images on a device.

    Args:
        batch: as the loader gave it.
        wants: what is seen of it.
        outputs: of the network.
        device: of the network.

    Raises:
        ValueError: if labels are wanted, and an image has none.
        RunStoppedError: if a label is no output of the network.
    """
    if wants.labels:
        if bool((batch.label < 0).any()):
            raise ValueError("The analysis needs labels, but the images lie in no class folders, nor in pairs.")
        check_range(batch.label, outputs)
    return Batch(*(field.to(device, non_blocking=True) for field in batch)).to_float()
