"""One process's part of a data set, and how its batches are put together."""

from collections.abc import Sequence

from torch.utils.data import Dataset

from lightning_advinterp.data.batch import Batch
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
