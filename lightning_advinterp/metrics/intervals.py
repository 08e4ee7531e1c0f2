"""Confidence intervals of shares."""

import math


def wilson_interval(successes: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval for a share, 95 % by default; it stays in [0, 1] and is right at 0 and n.

    Args:
        successes: how often.
        n: out of how many.
        z: the normal quantile of the confidence level.

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
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # The bounds at 0 and n are exactly 0 and 1; rounding must not push them past.
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
