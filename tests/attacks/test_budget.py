import pytest
import torch
from scipy import stats

from lightning_advinterp.attacks import parse_budget, parse_pixels, sample_keys


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.1, 0.1), ("4/255", 4 / 255), ("0.25/255", 0.25 / 255), (" 1 / 255 ", 1 / 255), (0, 0.0)],
)
def test_parse_pixels(value, expected):
    assert parse_pixels(value) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (4, r'eps is a fraction of the \[0, 1\] pixel range .* write "4/255"'),
        ("8", 'write "8/255"'),
        (-0.1, "finite number, 0 or more"),
        (float("nan"), "finite number"),
        ("four", 'a number or a string such as "4/255"'),
        ("1/0", "a number or a string"),
    ],
)
def test_parse_pixels_refuses(value, message):
    with pytest.raises(ValueError, match=message):
        parse_pixels(value)


def test_budget_refuses_a_range_that_is_none():
    with pytest.raises(ValueError, match="low <= high"):
        parse_budget(["16/255", "4/255"])
    with pytest.raises(ValueError, match="one value or"):
        parse_budget([0.1, 0.2, 0.3])


def test_uniform_budget():
    eps = parse_budget(["4/255", "16/255"]).radius(sample_keys(torch.arange(20000))).flatten()
    assert stats.kstest((eps.numpy() * 255 - 4) / 12, "uniform").pvalue > 1e-3


def test_truncated_normal_budget():
    """Kurakin et al. 2017: N(0, 8) truncated to [0, 16]."""
    budget = parse_budget([0, "16/255"], "truncated_normal")
    eps = budget.radius(sample_keys(torch.arange(20000))).flatten()
    assert stats.kstest(eps.numpy() * 255 / 8, stats.truncnorm(0, 2).cdf).pvalue > 1e-3
    assert eps.max() <= 16 / 255


def test_fixed_budget():
    assert parse_budget("4/255").radius(torch.arange(3)).tolist() == [[[[pytest.approx(4 / 255)]]]] * 3
