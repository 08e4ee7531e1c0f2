"""The concept world as a data set: disjoint splits, rendered once and kept in memory."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.concept_world.classes import CLASSES
from lightning_advinterp.data.concept_world.farm import render_span, render_spans
from lightning_advinterp.data.concept_world.rendering import RENDER_VERSION, label_for
from lightning_advinterp.data.images import ImageSetDefaults
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.memory_set import shift_and_flip
from lightning_advinterp.data.sampler import EpochDependent

Split = Literal["train", "val", "test"]

_SPAN = 12_000_000  # a multiple of the number of classes, so that every split starts with a balanced run
OFFSETS: dict[str, int] = {"train": 0, "val": _SPAN, "test": 2 * _SPAN}
"""Number of the first picture of each split, for :func:`render`."""


class ConceptWorld(EpochDependent, ImageSetDefaults):
    """Labelled pictures of one split.

    Pictures are rendered when first asked for and then kept; :meth:`prepare` renders all of them at once.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``; no picture is in two splits.
        n: number of pictures, at most 12 million.
        size: width and height in pixels, 16 to 1024.
        seed: number of the world, and seed of the shifts and flips.
        transform: applied to each image, a uint8 tensor ``[3, size, size]``, after shift and flip.
        shift: greatest random shift in pixels, with a flip half of the time; a pure function of
            (seed, epoch, index). 0: no augmentation at all.
        later: leave the augmentation to the device, see :func:`~lightning_advinterp.datamodules.cifar.augment_batch`.

    Example:
        >>> item = ConceptWorld("val", 24, size=32)[0]
        >>> item.image.shape, item.image.dtype
        (torch.Size([3, 32, 32]), torch.uint8)
    """

    def __init__(
        self,
        split: Split,
        n: int,
        *,
        size: int = 64,
        seed: int = 0,
        transform: Callable[[Tensor], Tensor] | None = None,
        shift: int = 0,
        later: bool = False,
    ) -> None:
        if split not in OFFSETS:
            raise ValueError(f"split must be one of {', '.join(OFFSETS)}, got {split!r}")
        if not 1 <= n <= _SPAN:
            raise ValueError(f"n must be in [1, {_SPAN}], got {n}")
        if not 16 <= size <= 1024:
            raise ValueError(f"size must be in [16, 1024] pixels, got {size}")
        if not 0 <= shift < size:
            raise ValueError(f"shift must be in [0, size) = [0, {size}) pixels, got {shift}")
        self.split, self.n, self.size, self.seed = split, n, size, seed
        self.transform, self.shift, self.offset, self.later = transform, shift, OFFSETS[split], later
        self.labels: list[int] = [label_for(self.offset + i, seed=seed) for i in range(n)]
        self._images: NDArray[np.uint8] | None = None
        self._ready: NDArray[np.bool_] = np.zeros(n, np.bool_)
        EpochDependent.__init__(self)

    @property
    def indices(self) -> Sequence[int]:
        """Numbers are places."""
        return range(self.n)

    @property
    def classes(self) -> list[str]:
        """WordNet ids in the order of the class indices."""
        return [c.wnid for c in CLASSES]

    @property
    def class_names(self) -> list[str]:
        """English names in the order of the class indices."""
        return [c.name for c in CLASSES]

    @property
    def fingerprint(self) -> str:
        """Short hash of the settings and of the renderer's version: what decides every picture."""
        text = f"concept world {RENDER_VERSION} {self.split} {self.n} {self.size} {self.seed}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def choice(self, limit: int, seed: int) -> list[int]:
        """Return the places of so many pictures, a seeded random choice: classes take turns, so any is even enough."""
        return subset_indices(self.n, limit, seed).tolist()

    @property
    def images(self) -> Tensor:
        """All pictures without augmentation or transform, uint8 ``[n, 3, size, size]``, sharing memory."""
        self.prepare()
        return torch.from_numpy(self._store())

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, item: int) -> Batch:
        """Return one sample: uint8 ``[3, size, size]`` (or what ``transform`` makes of it), label, index."""
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[Batch]:
        """Return the samples of one batch."""
        for i in items:
            self._render(i)
        images = torch.from_numpy(self._store()[list(items)])  # indexing copies: callers may write to it
        if self.shift and not self.later:
            draws = [mixed_seed(self.seed, int(self._epoch), i) for i in items]
            images = shift_and_flip(images, draws, self.shift)
        rows = images if self.transform is None else [self.transform(image) for image in images]
        labels = torch.tensor([self.labels[i] for i in items])
        return [Batch(*sample) for sample in zip(rows, labels, torch.tensor(items), strict=True)]

    def prepare(self, progress: bool = False) -> None:
        """Render every picture that is not there yet, on several cores where that is worth it.

        Args:
            progress: show a progress bar.
        """
        missing = np.flatnonzero(~self._ready)
        if not len(missing):
            return
        # What is missing is almost always everything; rendering a few pictures again gives the same bytes.
        start, stop = int(missing[0]), int(missing[-1]) + 1
        spans = render_spans(self.offset + start, self.offset + stop, seed=self.seed, size=self.size, progress=progress)
        store = self._store()
        for first, images in spans:
            k = first - self.offset
            store[k : k + len(images)] = images
            self._ready[k : k + len(images)] = True

    def _render(self, i: int) -> None:
        if not 0 <= i < self.n:
            raise IndexError(f"index must be in [0, {self.n}), got {i}")
        store = self._store()
        if not self._ready[i]:
            k = self.offset + i
            store[i] = render_span(k, k + 1, seed=self.seed, size=self.size)[0]
            self._ready[i] = True

    def _store(self) -> NDArray[np.uint8]:
        if self._images is None:
            self._images = np.empty((self.n, 3, self.size, self.size), np.uint8)
        return self._images
