"""Streamed moments against numpy's."""

import numpy as np
import pytest
import torch

from lightning_advinterp.metrics.moments import Moments, merged


def values(n=23, columns=4, seed=0):
    samples = torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    samples[:, 1] = 1e3 + 0.1 * samples[:, 1]  # a large mean beside a small spread
    samples[3:9, 2] = torch.nan
    return samples


@pytest.mark.parametrize("size", [1, 5, 23])
def test_any_batches_give_numpys_moments(size):
    x, moments = values(), Moments(4)
    for first in range(0, len(x), size):
        moments.update(x[first : first + size])
    np.testing.assert_allclose(moments.average(), np.nanmean(x, 0), rtol=1e-12)
    np.testing.assert_allclose(moments.deviation(), np.nanstd(x, 0), rtol=1e-6)
    np.testing.assert_allclose(moments.deviation(unbiased=True), np.nanstd(x, 0, ddof=1), rtol=1e-6)
    assert moments.count.tolist() == [23, 23, 17, 23]


def test_parts_merge_in_any_shape():
    x = values()
    parts = []
    for rows in (x[:2], x[2:2], x[2:11], x[11:]):
        parts.append(Moments(4))
        parts[-1].update(rows)
    moments = merged(parts, 4)
    np.testing.assert_allclose(moments.average(), np.nanmean(x, 0), rtol=1e-12)
    np.testing.assert_allclose(moments.deviation(), np.nanstd(x, 0), rtol=1e-6)


def test_one_value_has_no_spread_and_no_value_has_none():
    moments = Moments(4)
    for place in range(40):  # 0.1 in float32, with its last bit jittering as batches of other sizes make it
        jitter = torch.tensor([0.1, 0.1 * (1 + 1e-7 * (place % 2)), torch.nan, 5.0 + (place == 7)])
        moments.update(jitter[None])
    assert moments.deviation()[:2].tolist() == [0, 0]
    assert moments.deviation().isnan().tolist() == [False, False, True, False]
    assert moments.average().isnan().tolist() == [False, False, True, False]
    single = Moments(1)
    single.update(torch.ones(1, 1))
    assert single.deviation().item() == 0
    assert single.deviation(unbiased=True).isnan().item()
