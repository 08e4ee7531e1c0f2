"""Which samples a process takes, in which order: a pure function of (seed, epoch), on one process or several."""

import copy
from collections.abc import Iterator, Sized
from typing import Protocol, Self, cast, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from lightning_advinterp.core.randomness import mixed_seed


def shared_zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Return zeros in shared memory: what one process writes, a loader's workers see, and the reverse."""
    return cast(Tensor, torch.zeros(shape, dtype=dtype).share_memory_())  # type: ignore[no-untyped-call]


@runtime_checkable
class FollowsEpochs(Protocol):
    """A data set that is told which epoch comes next."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentation comes next."""


class EpochDependent:
    """A data set whose augmentation depends on the epoch, which lies in shared memory: living workers follow it."""

    def __init__(self) -> None:
        self._epoch = shared_zeros()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentation comes next."""
        self._epoch.fill_(epoch)

    def at_epoch(self, epoch: int) -> Self:
        """Return the same data with an epoch of its own, whatever a training makes of this one's."""
        view = copy.copy(self)
        view._epoch = shared_zeros().fill_(epoch)
        return view


class EpochSampler(DistributedSampler[int]):
    """Shuffle anew in each epoch, as a pure function of (seed, epoch).

    Being a ``DistributedSampler``, it is left in place by Lightning, which would wrap any other sampler and
    shuffle a second time with its own seed. Process ``rank`` takes every ``world_size``-th sample of the one
    global order, so N processes with batch B see the same images per step as one process with batch N·B;
    the up to ``world_size - 1`` samples at the end that would make the shares uneven wait for another epoch.

    :meth:`set_epoch`, which Lightning calls before each epoch, is passed on to the data set where it has such
    a method, so that augmentation can depend on the epoch too.

    Args:
        data: the data set, or anything with a length.
        seed: the run's seed.
        rank: this process's number.
        world_size: how many processes there are.

    Attributes:
        start: how many of this process's samples are passed over, in an epoch that goes on where it was left.
    """

    def __init__(self, data: Sized, seed: int = 0, *, rank: int = 0, world_size: int = 1) -> None:
        if world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, world_size), got rank={rank} and world_size={world_size}")
        self.data = data
        self.seed, self.epoch, self.start = seed, 0, 0
        self.rank, self.num_replicas = rank, world_size
        self.shuffle, self.drop_last = True, True

    def __len__(self) -> int:
        return len(self.data) // self.num_replicas

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
        order = torch.randperm(len(self.data), generator=generator)
        return iter(order[self.rank :: self.num_replicas][: len(self)][self.start :].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next, for this sampler and for its data set."""
        self.epoch = epoch
        if isinstance(self.data, FollowsEpochs):
            self.data.set_epoch(epoch)


class ShardSampler(DistributedSampler[int]):
    """Every ``world_size``-th sample from ``rank`` on, in order: each sample once, on one process or several.

    Lightning would put a ``DistributedSampler`` of its own into an evaluation's loader, which repeats samples until the
    shares are even, so that metrics count some of them twice; one that is there already it leaves in place. Shares here
    differ by up to one sample, and the numbers of batches with them. That is safe because no evaluation step waits for
    the other processes, but for the first of a validation inside a training, whose buffers are those of process 0; so
    every process needs one sample at least.

    Args:
        data: the data set, or anything with a length.
        rank: this process's number.
        world_size: how many processes there are.

    Raises:
        ValueError: if there are fewer samples than processes.
    """

    def __init__(self, data: Sized, *, rank: int = 0, world_size: int = 1) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, world_size), got rank={rank} and world_size={world_size}")
        if len(data) < world_size:
            raise ValueError(
                f"{len(data)} images cannot be shared out among {world_size} processes; take at most {len(data)} of "
                "these, or more images."
            )
        self.data, self.rank, self.num_replicas = data, rank, world_size
        self.shuffle, self.drop_last = False, False

    def __len__(self) -> int:
        return len(range(self.rank, len(self.data), self.num_replicas))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, len(self.data), self.num_replicas))

    def set_epoch(self, epoch: int) -> None:
        """The order is the same in every epoch."""
