"""Data loaders whose order and batches are the same on every machine, and how many workers feed them."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from lightning_advinterp.data.batch import Batch

Workers = int | Literal["auto"]
_MOST_WORKERS = 8


def collate_batch(samples: Sequence[Batch | None]) -> Batch:
    """Stack single samples into one batch.

    Args:
        samples: single samples; None are left out.

    Raises:
        ValueError: no sample is left.
    """
    kept = [sample for sample in samples if sample is not None]
    if not kept:
        raise ValueError(f"a batch needs at least one sample, got {len(samples)}, none of them usable")
    batch: Batch = default_collate(kept)
    return batch


def worker_count(num_workers: Workers = "auto", processes: int = 1) -> int:
    """Return how many worker processes a loader gets.

    ``auto`` is the cores this process may use, shared among the training processes of the machine, at most 8,
    and 0 (load in the main process) where a training process has one core or less.

    Args:
        num_workers: a number, or ``auto``.
        processes: training processes on this machine.

    Raises:
        ValueError: a negative number or another word.
    """
    if num_workers == "auto":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = cores // max(1, processes)
        return min(_MOST_WORKERS, share) if share > 1 else 0
    if not isinstance(num_workers, int) or num_workers < 0:
        raise ValueError(f"num_workers must be 'auto' or an integer of at least 0, got {num_workers!r}")
    return num_workers


class ReplayLoader(DataLoader[Batch]):
    """A loader that gives each batch several times in a row; it is read and augmented once.

    A subclass rather than a wrapper, so that Lightning finds the sampler and tells it the epoch.

    Args:
        *args: as for a ``DataLoader``.
        replays: how often a batch comes.
        **kwargs: as for a ``DataLoader``.
    """

    def __init__(self, *args: Any, replays: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.replays = replays

    def __len__(self) -> int:
        return self.replays * super().__len__()

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in super().__iter__():
            for _ in range(self.replays):
                yield batch


def make_loader(
    data: Dataset[Batch],
    *,
    batch_size: int,
    sampler: Sampler[int] | None = None,
    drop_last: bool = False,
    num_workers: int = 0,
    pin_memory: bool | None = None,
    prefetch: int = 2,
    replays: int = 1,
) -> "DataLoader[Batch]":
    """Build a loader; without a ``sampler`` it goes through the data in order.

    Args:
        data: the samples.
        batch_size: samples per batch (per process).
        sampler: order of the samples.
        drop_last: leave out an incomplete last batch.
        num_workers: worker processes; they stay alive between epochs.
        pin_memory: copy batches to page-locked memory; None: where there is a CUDA device.
        prefetch: batches that each worker prepares ahead.
        replays: how often each batch comes in a row.
    """
    loader = DataLoader if replays == 1 else partial(ReplayLoader, replays=replays)
    return loader(
        data,
        batch_size=batch_size,
        sampler=sampler,
        shuffle=False,
        drop_last=drop_last,
        num_workers=num_workers,
        collate_fn=collate_batch,
        pin_memory=torch.cuda.is_available() if pin_memory is None else pin_memory,
        persistent_workers=num_workers > 0,
        prefetch_factor=prefetch if num_workers > 0 else None,
    )
