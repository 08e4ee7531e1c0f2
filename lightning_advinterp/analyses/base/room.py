"""Activations of many kinds of images within a limit of memory: what does not fit is computed again when it is read."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.memory import forget_peak, memory_now, memory_peak, return_freed_memory
from lightning_advinterp.core.result import REAL
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.network import Network

_GIB = 2**30
_PART = 8
"""The part of a batch by which its memory is foretold."""
_BEYOND_PASSES = 4
"""What analyses take may be so many times what the passes take: counting concepts of three layers took 3.9 times."""


class KindActivations(Mapping[str, Mapping[str, Tensor]]):
    """Image kind to layer to activation.

    The real images' are held, those of the first other kinds, and those that were read last. Others pass the network
    again: the same images in the same batch, so the same numbers.

    Args:
        network: in evaluation mode.
        layers: that are read.
        images: kind to images; may grow.
        most: so many kinds may be held beside the real one and the one that is read; None: all.
    """

    def __init__(
        self, network: Network, layers: tuple[str, ...], images: Mapping[str, Tensor], most: int | None = None
    ) -> None:
        self._network, self._layers, self._images, self._most = network, layers, images, most
        self._held: dict[str, Mapping[str, Tensor]] = {}
        self._last: tuple[str, Mapping[str, Tensor]] | None = None

    def put(self, kind: str, activations: Mapping[str, Tensor]) -> None:
        """Hold a kind's activations if there is room."""
        if kind == REAL or self._most is None or len(self._held) <= self._most:
            self._held[kind] = activations
        else:
            self._last = kind, activations

    def make_room(self) -> None:
        """Forget what was read last; it comes again when it is read again."""
        self._last = None

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()
        self._last = None

    def __getitem__(self, kind: str) -> Mapping[str, Tensor]:
        if kind in self._held:
            return self._held[kind]
        if self._last is None or self._last[0] != kind:
            images = self._images[kind]
            self._last = None  # before the pass, which needs the room
            with torch.no_grad():
                self._last = kind, self._network.forward_features(images, self._layers)[1]
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


class Room:
    """How many kinds of images, and how many images at a time, a process may hold within a limit.

    The first batch is looked at with as few kinds as possible, which shows what the rest takes; then those are held for
    which there is room. A batch that may not fit even so is looked at in parts, an eighth of it at first.

    Args:
        limit: bytes; None: there is no limit.
        device: of the network: on a CUDA device its tensors count, else the process' main memory.

    Raises:
        ValueError: if the system does not say what memory is used.
    """

    def __init__(self, limit: int | None, device: torch.device) -> None:
        if limit is not None and memory_now(device) is None:
            raise ValueError("memory: this system does not say what memory a process holds; leave memory out.")
        self._limit, self._device = limit, device
        self._start, self._images, self._learnt, self._most = 0, 0, 0, 0
        self._kind_bytes = 0.0  # bytes of an image's activations
        self._image_bytes: float | None = None  # bytes that an image takes beside those of kinds that are held

    @property
    def most(self) -> int | None:
        """How many kinds may be held beside the real one and the one that is read; None: all."""
        return None if self._limit is None else self._most

    def micro_batches(
        self, network: Network, batch: Batch | None, layers: tuple[str, ...]
    ) -> Iterator[tuple[Batch | None, bool]]:
        """Yield a batch in as few parts as fit, each with whether it is the last; of no images, that once.

        Args:
            network: in evaluation mode.
            batch: float images, on its device; None: all were skipped.
            layers: that will be read.

        Raises:
            RunStoppedError: if not even one image fits.
        """
        if batch is None:
            yield None, True
            return
        begin, count = 0, len(batch.index)
        while begin < count:
            end = begin + self.fitting(network, batch.image[begin:], layers)
            yield Batch(*(field[begin:end] for field in batch)), end == count
            begin = end

    def fitting(self, network: Network, x: Tensor, layers: tuple[str, ...]) -> int:
        """Return how many of a batch's images may be looked at together; nothing of them is held yet.

        Args:
            network: in evaluation mode.
            x: float ``[B, 3, H, W]``.
            layers: that will be read.

        Raises:
            RunStoppedError: if not even one image fits.
        """
        if self._limit is None:
            return len(x)
        first = self._image_bytes is None
        if self._image_bytes is None:
            self._image_bytes = self._foretell(network, x, layers)
        self._start = self._held()
        free = self._limit - self._start
        if free < self._image_bytes:
            self._refuse(self._image_bytes)
        self._images = len(x) if self._image_bytes == 0 else min(len(x), int(free / self._image_bytes))
        if first and free < self._image_bytes * len(x) * _BEYOND_PASSES:
            # The passes are foretold, what analyses take beyond them is not: a small part shows it.
            self._images = max(1, min(self._images, len(x) // _PART))
        held = self._kind_bytes * self._images
        self._most = int((free - self._image_bytes * self._images) / held) if held else 0
        forget_peak(self._device)
        return self._images

    def closes(self, activations: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Learn from a batch, or a part of it, what it took, and let go of it."""
        if self._limit is None or not isinstance(activations, KindActivations):
            return
        size = sum(value.numel() * value.element_size() for value in activations[REAL].values())
        beside = size * min(self._most, max(0, len(activations) - 2))
        taken = (memory_peak(self._device) or 0) - self._start - beside
        if self._images >= self._learnt:
            # Of fewer images what does not grow with them would count more than it does.
            self._image_bytes = max(taken, 0) / self._images
            self._learnt = self._images
        self._kind_bytes = size / self._images
        activations.clear()

    def _held(self) -> int:
        """Return the bytes that the process holds, without what small tensors left, which passes would fill unseen."""
        if self._device.type == "cpu":
            return_freed_memory()
        return memory_now(self._device) or 0

    def _foretell(self, network: Network, x: Tensor, layers: tuple[str, ...]) -> float:
        """Return the bytes that the passes of an image take, by a part of the batch."""
        part = x[: max(1, len(x) // _PART)]
        start = self._held()
        forget_peak(self._device)
        with torch.no_grad():
            activations = network.forward_features(part, layers)[1]
        with torch.enable_grad():
            image = part.detach().clone().requires_grad_()
            torch.autograd.grad(network(image).sum(), image)
        held = sum(value.numel() * value.element_size() for value in activations.values())
        return ((memory_peak(self._device) or 0) - start + held) / len(part)

    def _refuse(self, image_bytes: float) -> None:
        assert self._limit is not None
        enough = (self._start + image_bytes) * 1.05
        raise RunStoppedError(
            f"memory: {self._limit / _GIB:.3g} GiB are too few: the process holds {self._start / _GIB:.2f} GiB, and "
            f"one image takes {image_bytes / _GIB:.2f} GiB more; it takes --memory {enough / _GIB:.2f}."
        )
