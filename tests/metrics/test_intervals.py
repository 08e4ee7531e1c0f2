"""The interval of a median against scipy's, and how often it covers the median."""

import math

import pytest
import torch
from scipy.stats import binom, quantile_test

from lightning_advinterp.metrics.intervals import median_interval


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_interval_of_a_median_is_scipy_s(confidence):
    for n in (1, 2, 5, 6, 7, 16, 32, 101, 500):
        values = torch.randn(n, generator=torch.Generator().manual_seed(n)).tolist()
        expected = quantile_test(values, p=0.5).confidence_interval(confidence)
        assert median_interval(values, confidence) == pytest.approx((expected.low, expected.high), nan_ok=True)


def test_below_six_values_there_is_none():
    assert all(math.isnan(bound) for n in range(6) for bound in median_interval([1.0] * n))
    assert median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]) == (1.0, 6.0)
    low, high = median_interval([float(value) for value in range(5000)])
    assert 2425 < low < 2499 < high < 2575


def test_a_skewed_distribution_s_median_is_covered_as_often_as_the_binomial_says():
    """1 − 2 P(Bin(25, ½) < 8) = 0.957 for 25 values, of which the interval is the 8th to the 18th."""
    samples = torch.empty(4000, 25).exponential_(generator=torch.Generator().manual_seed(0))
    bounds = [median_interval(row) for row in samples.tolist()]
    covered = sum(low <= math.log(2) <= high for low, high in bounds) / len(bounds)
    exact = 1 - 2 * binom.cdf(7, 25, 0.5)
    assert exact >= 0.95
    assert covered == pytest.approx(exact, abs=4 * (exact * (1 - exact) / len(bounds)) ** 0.5)
