"""Images that lie in memory, shifted and flipped at random."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_advinterp.core.randomness import mixed_seed, mixed_seeds
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.images import ImageSetDefaults
from lightning_advinterp.data.sampler import EpochDependent


class MemoryDataset(EpochDependent, ImageSetDefaults):
    """Images that lie in memory, shifted and flipped at random where augmentation is wanted.

    The draws are a pure function of (seed, epoch, index).

    Args:
        images: uint8 ``[N, 3, H, W]``.
        labels: N labels.
        indices: positions to use; None: all. They are the samples' ``Batch.index``.
        shift: greatest shift in pixels in each direction (black comes in); with a flip half of the time.
            0: no augmentation at all.
        seed: of the augmentation.
        later: leave the augmentation to the device, see :func:`augment_batch`.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Sequence[int],
        *,
        indices: Sequence[int] | None = None,
        shift: int = 0,
        seed: int = 0,
        later: bool = False,
    ) -> None:
        if images.dtype != torch.uint8 or len(images) != len(labels):
            raise ValueError(
                f"expected uint8 images and as many labels, got {images.dtype} {list(images.shape)} "
                f"and {len(labels)} labels"
            )
        self.images, self.shift, self.seed, self.later = images, shift, seed, later
        self.indices = list(range(len(images)) if indices is None else indices)
        self.labels = [labels[i] for i in self.indices]
        self.classes: Sequence[str] = ()
        self.class_names: Sequence[str] = ()
        EpochDependent.__init__(self)

    @property
    def fingerprint(self) -> str:
        """Short hash of pixels, labels and which images are used."""
        digest = hashlib.sha256(self.images.cpu().contiguous().numpy().tobytes())
        digest.update(repr((list(self.images.shape), self.indices, self.labels)).encode())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> Batch:
        """Return one sample: uint8 ``[3, H, W]``, int64 label, int64 index."""
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[Batch]:
        """Return the samples of one batch."""
        index = [self.indices[item] for item in items]
        images = self.images[index]
        if self.shift and not self.later:
            images = shift_and_flip(images, [mixed_seed(self.seed, int(self._epoch), i) for i in index], self.shift)
        labels = torch.tensor([self.labels[item] for item in items])
        return [Batch(*sample) for sample in zip(images, labels, torch.tensor(index), strict=True)]


def augment_batch(batch: Batch, shift: int, *, seed: int, epoch: int) -> Batch:
    """Shift and flip a batch where it is, with the draws that its data set would have made.

    Args:
        batch: images uint8, not augmented yet.
        shift: greatest shift in pixels; 0: nothing happens.
        seed: of the augmentation.
        epoch: the current one.
    """
    if not shift:
        return batch
    return batch._replace(image=shift_and_flip(batch.image, mixed_seeds(seed, epoch, batch.index), shift))


def shift_and_flip(images: Tensor, draws: Sequence[int] | Tensor, shift: int) -> Tensor:
    """Move each image by up to ``shift`` pixels in both directions, and flip half of them.

    Args:
        images: ``[B, C, H, W]``; zeros come in at the borders.
        draws: one random 63-bit number per image; a tensor lies where the images do.
        shift: greatest shift in pixels.

    Returns:
        ``[B, C, H, W]``.
    """
    height, width = images.shape[-2:]
    draw, device = torch.as_tensor(draws), images.device
    steps = 2 * shift + 1
    rows = (draw % steps)[:, None] + torch.arange(height, device=device)
    columns = ((draw >> 16) % steps)[:, None] + torch.arange(width, device=device)
    columns = torch.where(((draw >> 40) & 1).bool()[:, None], columns.flip(1), columns)
    padded = pad(images, [shift] * 4).permute(0, 2, 3, 1)
    batch = torch.arange(len(images), device=device)[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
