import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.data.sampler import EpochSampler


def order(seed: int, epoch: int, size: int = 20, **kwargs: int) -> list[int]:
    sampler = EpochSampler(range(size), seed, **kwargs)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_order_is_a_function_of_seed_and_epoch():
    torch.manual_seed(1)
    first = order(0, 3)
    torch.manual_seed(2)
    assert order(0, 3) == first
    assert sorted(first) == list(range(20))
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_iterating_twice_repeats_the_epoch():
    sampler = EpochSampler(range(9), 5)
    assert list(sampler) == list(sampler)
    assert len(sampler) == 9


def test_the_global_generator_is_untouched():
    before = torch.get_rng_state()
    order(0, 0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("size", [20, 21, 22])
def test_processes_share_the_same_global_batches(size: int):
    single_process = list(DataLoader(range(size), batch_size=6, sampler=order(7, 2, size), drop_last=True))
    shares = [order(7, 2, size, rank=rank, world_size=3) for rank in range(3)]
    assert [len(share) for share in shares] == [size // 3] * 3
    loaders = [DataLoader(range(size), batch_size=2, sampler=share, drop_last=True) for share in shares]
    together = [torch.cat(batches).sort().values for batches in zip(*loaders, strict=True)]
    assert [batch.tolist() for batch in together] == [batch.sort().values.tolist() for batch in single_process]


def test_the_epoch_is_passed_on_to_the_data():
    class Data:
        epoch = 0

        def __len__(self) -> int:
            return 3

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    data = Data()
    EpochSampler(data).set_epoch(4)
    assert data.epoch == 4


def test_lightning_leaves_it_in_place():
    assert isinstance(EpochSampler(range(3)), DistributedSampler)


def test_bad_rank():
    with pytest.raises(ValueError, match=r"rank must be in \[0, world_size\), got rank=2 and world_size=2"):
        EpochSampler(range(3), rank=2, world_size=2)


def test_mixed_seed():
    seeds = {mixed_seed(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert 0 <= mixed_seed(-1, 2**70) < 2**63
    bits = torch.tensor([[seed >> bit & 1 for bit in range(63)] for seed in seeds]).double().mean(0)
    assert ((bits - 0.5).abs() < 0.09).all()
