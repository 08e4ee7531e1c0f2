"""Data loaders whose order and batches are the same on every machine, and how many workers feed them."""

import atexit
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.sampler import EpochSampler, shared_zeros

_log = logging.getLogger(__name__)

Workers = int | Literal["auto"]
_MOST_WORKERS = 8


def collate_batch(samples: Sequence[Batch | None]) -> Batch:
    """Stack single samples into one batch.

    Args:
        samples: single samples; None are left out.

    Raises:
        ValueError: no sample is left.
        RunStoppedError: images have several sizes.
    """
    readable = [sample for sample in samples if sample is not None]
    if not readable:
        raise ValueError(f"a batch needs at least one sample, got {len(samples)}, none of them usable")
    sizes = {tuple(sample.image.shape): int(sample.index) for sample in readable}
    if len(sizes) > 1:
        listing = ", ".join(f"{'x'.join(map(str, size))} (image {number})" for size, number in list(sizes.items())[:3])
        raise RunStoppedError(f"images of a batch must have one size, got {listing}; resize them as they are read.")
    batch: Batch = default_collate(readable)
    return batch


def read_batch(images: ImageSet, places: Sequence[int]) -> Batch:
    """Read images at some places as one batch, without the unreadable ones where the set skips them.

    Raises:
        ValueError: no image is left.
    """
    return collate_batch(images.readable(places))


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


class TrainLoader(DataLoader[Batch]):
    """A loader that goes on within an epoch, and may give each batch several times in a row, read and augmented once.

    Every checkpoint keeps :meth:`state_dict`. The order is a function of (seed, epoch), so that a number of batches
    says all. A subclass rather than a wrapper, so that Lightning finds the sampler and tells it the epoch.

    Args:
        *args: as for a ``DataLoader``, whose sampler is an :class:`~lightning_advinterp.data.sampler.EpochSampler`.
        replays: how often a batch comes.
        **kwargs: as for a ``DataLoader``.
    """

    def __init__(self, *args: Any, replays: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.replays = replays
        self._given, self._start = 0, 0

    def __len__(self) -> int:
        return self.replays * super().__len__()

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        start, self._start = self._start, 0
        if isinstance(self.sampler, EpochSampler):
            self.sampler.start = start // self.replays * cast(int, self.batch_size)
        self._given = start
        return self._replayed(super().__iter__(), start % self.replays)

    def _replayed(self, batches: Iterator[Batch], passed: int) -> Iterator[Batch]:
        for batch in batches:
            for _ in range(passed, self.replays):
                self._given += 1  # before the batch is worked on: a checkpoint is written after that
                yield batch
            passed = 0

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of the epoch have been given out, and what that number depends on."""
        return {"batches": self._given, **self._order()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration go on after the batches that were given out.

        Raises:
            RunStoppedError: if the same number would now mean other samples.
        """
        order = self._order()
        if state.get("epoch") != order.get("epoch"):  # a checkpoint of an epoch's end: the next one starts at its start
            if isinstance(self.sampler, EpochSampler) and self.sampler.rank == 0:  # one speaks for all processes
                _say_step_changed(state, order)
            return
        changed = [f"{key} was {state.get(key)}, is {value}" for key, value in order.items() if state.get(key) != value]
        if changed:
            raise RunStoppedError(
                f"A checkpoint from within an epoch cannot be resumed with another order of the images: "
                f"{', '.join(changed)}. Set it as it was, or resume from the end of an epoch (resume: RUN/last.ckpt)."
            )
        self._start = state["batches"]

    def _order(self) -> dict[str, int]:
        sampler = self.sampler
        if not isinstance(sampler, EpochSampler):  # trainer.overfit_batches puts its own in
            return {}
        return {
            "epoch": sampler.epoch,
            "seed": sampler.seed,
            "samples": len(sampler),
            "processes": sampler.num_replicas,
            "batch_size": cast(int, self.batch_size),
            "replays": self.replays,
        }


def _say_step_changed(was: Mapping[str, int], now: Mapping[str, int]) -> None:
    """Warn where a step of the optimiser comes to have more images or fewer."""
    if not {"processes", "batch_size"} <= was.keys() & now.keys():  # no order of this project's
        return
    before, images = (order["processes"] * order["batch_size"] for order in (was, now))
    if images == before:
        return
    remedy = f"take a number of processes that divides {before}"
    if before % now["processes"] == 0:
        remedy = f"set data.init_args.batch_size to {before // now['processes']}"
    _log.warning(
        "A step has %d x %d images (processes x batch size) from here on; it had %d x %d. The learning rate stays. To "
        "keep the recipe, %s; for another rate, start a run of another name from these weights (model.weights).",
        *(now["processes"], now["batch_size"], was["processes"], was["batch_size"], remedy),
    )


_ENDING = shared_zeros()
"""1 once the process that loads is on its way out: what its workers are told by SIGTERM then is for them."""


def end_workers(patience: float = 2.0) -> None:
    """End the processes that this one would wait for at its exit, whatever they do.

    Python sends its daemonic children one SIGTERM at exit and then waits for ever. Loaders' workers leave a first
    SIGTERM to the training process, and one that is stuck in a system call hears none.

    Args:
        patience: seconds after which a child is killed.
    """
    _ENDING.fill_(1)
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise for a worker that is killed
    children = [child for child in multiprocessing.active_children() if child.daemon]
    for child in children:
        child.terminate()
    until = time.monotonic() + patience
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
        if child.is_alive():
            child.kill()


atexit.register(end_workers)  # after multiprocessing's own, so that it runs before that


def leave_signals_alone(worker: int, ending: Tensor = _ENDING) -> None:
    """Let a worker process leave signals to the training process, which ends its workers itself.

    Job systems and terminals signal all processes at once. A worker that ended at the first SIGTERM or Ctrl-C would
    break the step under way, after which nothing could be saved; and it has inherited what the training process does
    at SLURM's signal.

    Args:
        worker: its number.
        ending: 1 once the training process is on its way out.
    """
    received = []

    def handle(number: int, frame: object) -> None:
        received.append(number)
        if len(received) > 1 or bool(ending):
            os._exit(0)

    signal.signal(signal.SIGTERM, handle)
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):  # the last two are absent on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


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
    """Build a loader; without a ``sampler`` it goes through the data in order, with an ``EpochSampler`` it can resume.

    Args:
        data: the samples.
        batch_size: samples per batch (per process).
        sampler: order of the samples.
        drop_last: leave out an incomplete last batch.
        num_workers: worker processes; they stay alive between epochs.
        pin_memory: copy batches to page-locked memory; None: where there is a CUDA device.
        prefetch: batches that each worker prepares ahead.
        replays: how often each batch of an ``EpochSampler`` comes in a row.
    """
    loader = partial(TrainLoader, replays=replays) if isinstance(sampler, EpochSampler) else DataLoader
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
        worker_init_fn=partial(leave_signals_alone, ending=_ENDING),
        prefetch_factor=prefetch if num_workers > 0 else None,
    )
