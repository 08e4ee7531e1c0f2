import pytest
import torch
from scipy import stats

from lightning_advinterp.core.randomness import mix, normal, sample_keys, uniform


def splitmix64(state):
    """SplitMix64 as published, on Python integers."""
    mask = (1 << 64) - 1
    state = (state + 0x9E3779B97F4A7C15) & mask
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return state, z ^ (z >> 31)


def test_mix_is_splitmix64():
    # The first output of SplitMix64 seeded with 0 is published: e220a8397b1dcdaf.
    assert mix(torch.zeros(1, dtype=torch.int64)).item() & ((1 << 64) - 1) == 0xE220A8397B1DCDAF
    for seed in (1, 1234567, 2**40 + 17):
        got = mix(torch.tensor([seed])).item() & ((1 << 64) - 1)
        assert got == splitmix64(seed)[1]


def test_uniform_is_the_counter_based_stream():
    key = torch.tensor([77])
    state = mix(key, 3).item() & ((1 << 64) - 1)
    expected = []
    for _ in range(6):
        state, output = splitmix64(state)
        expected.append((output >> 40) * 2.0**-24)
    assert uniform(key, (2, 3), stream=3).flatten().tolist() == expected


def test_draws_depend_on_the_key_alone():
    index = torch.arange(10)
    keys = sample_keys(index, seed=5, epoch=2)
    together = uniform(keys, (3, 4, 4))
    part = uniform(sample_keys(index[[7, 2]], seed=5, epoch=2), (3, 4, 4))
    assert torch.equal(together[[7, 2]], part)


def test_no_draw_touches_the_global_generator():
    state = torch.get_rng_state()
    normal(sample_keys(torch.arange(4)), (3, 8, 8))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("changed", [{"seed": 1}, {"epoch": 1}, {"restart": 1}])
def test_keys_differ_by_seed_epoch_and_restart(changed):
    index = torch.arange(1000)
    assert not (sample_keys(index) == sample_keys(index, **changed)).any()


def test_keys_are_distinct():
    keys = [
        sample_keys(torch.arange(2000), seed=s, epoch=e, restart=r)
        for s in range(3)
        for e in range(3)
        for r in range(3)
    ]
    assert len(torch.cat(keys).unique()) == 27 * 2000


def test_uniform_and_normal_have_their_distributions():
    keys = sample_keys(torch.arange(200))
    u, z = uniform(keys, (1000,)).flatten(), normal(keys, (1000,), stream=1).flatten()
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3
    assert torch.isfinite(z).all()
    # neighbouring samples and neighbouring positions are uncorrelated
    table = uniform(keys, (1000,)) - 0.5
    assert abs((table[1:] * table[:-1]).mean() * 12) < 0.01
    assert abs((table[:, 1:] * table[:, :-1]).mean() * 12) < 0.01
