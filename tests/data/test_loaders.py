import os

import pytest
import torch

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.loaders import collate_batch, worker_count


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
