import os

import pytest
import torch

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.loaders import collate_batch, make_loader, worker_count
from lightning_advinterp.data.sampler import EpochSampler


def sample(index: int) -> Batch:
    return Batch(torch.zeros(3, 2, 2, dtype=torch.uint8), torch.tensor(1), torch.tensor(index))


def test_collate_stacks_and_leaves_out_none():
    batch = collate_batch([sample(4), None, sample(6)])
    assert isinstance(batch, Batch)
    assert batch.image.shape == (2, 3, 2, 2)
    assert batch.index.tolist() == [4, 6]
    assert batch.label.dtype == torch.int64


def test_collate_needs_a_sample():
    with pytest.raises(ValueError, match="at least one sample, got 2, none of them usable"):
        collate_batch([None, None])


@pytest.mark.parametrize(
    ("cores", "processes", "expected"),
    [(1, 1, 0), (2, 1, 2), (6, 1, 6), (64, 1, 8), (64, 4, 8), (8, 4, 2), (4, 4, 0)],
)
def test_automatic_workers(monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, expected: int):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert worker_count("auto", processes) == expected


def test_given_workers():
    assert worker_count(0) == 0
    assert worker_count(5, processes=8) == 5


@pytest.mark.parametrize("bad", [-1, "many", 1.5])
def test_bad_workers(bad: object):
    with pytest.raises(ValueError, match="num_workers must be 'auto' or an integer of at least 0, got"):
        worker_count(bad)


@pytest.mark.parametrize(
    ("processes", "batch_size", "message"),
    [
        (3, 6, "A step has 3 x 6 images (processes x batch size) from here on; it had 2 x 6"),
        (3, 8, "To keep the recipe, set data.init_args.batch_size to 4; for another rate"),
        (5, 4, "To keep the recipe, take a number of processes that divides 12; for another rate"),
        (4, 3, None),  # as many images in a step as before
    ],
)
def test_an_epoch_of_more_processes_says_what_becomes_of_a_step(caplog, processes, batch_size, message):
    images = list(range(60))

    def loader(world_size, size, epoch, rank=0):
        sampler = EpochSampler(images, rank=rank, world_size=world_size)
        sampler.set_epoch(epoch)
        return make_loader(images, batch_size=size, sampler=sampler)

    was = loader(2, 6, epoch=0).state_dict()
    for rank in range(processes):
        loader(processes, batch_size, epoch=1, rank=rank).load_state_dict(was)
    assert len(caplog.messages) == (message is not None), "one process speaks for all"
    assert message is None or message in caplog.messages[0]
