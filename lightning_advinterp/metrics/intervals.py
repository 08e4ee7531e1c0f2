"""Confidence intervals of shares, of medians and of means."""

import math
from collections.abc import Sequence
from fractions import Fraction

from scipy.special import ndtri, stdtrit


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share, which stays in [0, 1] and is right at 0 and n.

    Args:
        successes: how often.
        n: out of how many.
        confidence: the level.

    Returns:
        Lower and upper bound; NaN for ``n = 0``.

    Reference:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.

    >>> low, high = wilson_interval(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    if n == 0:
        return math.nan, math.nan
    share, z = successes / n, float(ndtri(0.5 + 0.5 * confidence))
    centre = (2 * n * share + z**2) / (2 * (n + z**2))
    reach = z / (2 * (n + z**2)) * math.sqrt(4 * n * share * (1 - share) + z**2)
    # At both ends the bound is exact, which the sums would miss by rounding.
    return 0.0 if successes == 0 else centre - reach, 1.0 if successes == n else centre + reach


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """An interval for the median of which values are a sample: two of the values, by their order.

    It holds for any distribution: that more than n − k of n values lie on one side of the median has a probability of
    the binomial distribution of n and ½. Of all such pairs it is the narrowest that is alike on both sides and covers
    the median with at least the probability asked for.

    Args:
        values: without NaN, in any order.
        confidence: the least probability, in (0, 1).

    Returns:
        Lower and upper bound; NaN where even all values are too few (below six for 95 %).

    Reference:
        David & Nagaraja, Order Statistics, 2003, Section 7.1.

    >>> median_interval([float(value) for value in range(1, 21)])
    (6.0, 15.0)
    """
    ordered, n = sorted(values), len(values)
    most = Fraction(1 - confidence) * 2**n / 2  # integers: a float holds no 2ⁿ of many values
    term, tail, k = 1, 1, 0  # 2ⁿ times the probability that exactly k, or at most k, lie below the median
    while tail <= most:
        k += 1
        term = term * (n - k + 1) // k
        tail += term
    return (ordered[k - 1], ordered[n - k]) if k else (math.nan, math.nan)


def mean_interval(mean: float, deviation: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval for the mean of which values are a sample; values are taken to be many or nearly normal.

    Args:
        mean: of the values.
        deviation: their standard deviation, with n − 1 in its denominator.
        n: number of values.
        confidence: the level.

    Returns:
        Lower and upper bound; NaN for fewer than two values.

    >>> low, high = mean_interval(5.0, 2.0, 4)
    >>> round(low, 3), round(high, 3)
    (1.818, 8.182)
    """
    if n < 2:
        return math.nan, math.nan
    reach = float(stdtrit(n - 1, (1 + confidence) / 2)) * deviation / math.sqrt(n)
    return mean - reach, mean + reach
