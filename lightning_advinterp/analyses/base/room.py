"""Activations of many kinds of images within a limit of memory: what does not fit is computed again when it is read."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.memory import forget_peak, memory_now, memory_peak
from lightning_advinterp.core.result import REAL
from lightning_advinterp.networks.network import Network

_GIB = 2**30
_PART = 8
"""The part of a batch by which its memory is foretold."""


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
    """How many kinds of images may be held, so that a process stays within a limit.

    The first batch is looked at with as few as possible, which shows what the rest takes; then those are held for
    which there is room.

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
        self._start, self._rest, self._kind = 0, 0, 0
        self._most = 0
        self._first = True

    @property
    def most(self) -> int | None:
        """How many kinds may be held beside the real one and the one that is read; None: all."""
        return None if self._limit is None else self._most

    def opens(self, network: Network, x: Tensor, layers: tuple[str, ...]) -> None:
        """Prepare for a batch, nothing of which is held yet.

        Args:
            network: in evaluation mode.
            x: float ``[B, 3, H, W]``.
            layers: that will be read.

        Raises:
            RunStoppedError: if the batch does not fit, with the number of images that would.
        """
        if self._limit is None:
            return
        if self._first:
            self._foretell(network, x, layers)
            self._first = False
        self._start = memory_now(self._device) or 0
        free = self._limit - self._start - self._rest
        if free < 0:
            self._refuse(self._start, self._rest / max(1, len(x)), len(x))
        self._most = free // self._kind if self._kind else 0
        forget_peak(self._device)

    def closes(self, activations: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Learn from a batch what it took, and let go of it."""
        if self._limit is None or not isinstance(activations, KindActivations):
            return
        real = activations[REAL].values()
        self._kind = sum(value.numel() * value.element_size() for value in real)
        size = self._kind * min(self._most, max(0, len(activations) - 2))
        self._rest = max(self._rest, (memory_peak(self._device) or 0) - self._start - size)
        activations.clear()

    def _foretell(self, network: Network, x: Tensor, layers: tuple[str, ...]) -> None:
        """See that the passes of a batch fit, by a part of it."""
        part = x[: max(1, len(x) // _PART)]
        start = memory_now(self._device) or 0
        forget_peak(self._device)
        with torch.no_grad():
            activations = network.forward_features(part, layers)[1]
        with torch.enable_grad():
            image = part.detach().clone().requires_grad_()
            torch.autograd.grad(network(image).sum(), image)
        each = ((memory_peak(self._device) or 0) - start) / len(part)
        each += sum(value.numel() * value.element_size() for value in activations.values()) / len(part)
        assert self._limit is not None
        if start + each * len(x) > self._limit:
            self._refuse(start, each, len(x))

    def _refuse(self, start: int, each: float, batch: int) -> None:
        assert self._limit is not None
        fitting = int((self._limit - start) / each) if each > 0 else 0
        remedy = f"--batch_size {fitting} fits, or" if 0 < fitting < batch else "it takes"
        raise RunStoppedError(
            f"memory: {self._limit / _GIB:.3g} GiB are too few: the process holds {start / _GIB:.2f} GiB, and a batch "
            f"of {batch} images takes {each * batch / _GIB:.2f} GiB more; {remedy} --memory "
            f"{(start + each * batch) * 1.05 / _GIB:.2f}."
        )
