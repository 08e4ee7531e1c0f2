"""Which of n values a quantile is, in exact arithmetic."""

import math
from fractions import Fraction

OFFICIAL = Fraction(994, 999)
"""The quantile that NetDissect's code reads for its 0.995: entry 994 of 1,000 points from 0 to 1."""


def as_quantile(quantile: float | str | Fraction) -> Fraction:
    """Return a quantile as an exact fraction; ``official`` is 994/999.

    Raises:
        ValueError: if it is not between 0 and 1.
    """
    if quantile == "official":
        return OFFICIAL
    if isinstance(quantile, str) or not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1 or be 'official', got {quantile!r}.")
    return Fraction(quantile).limit_denominator(1_000_000)


def hazen_ranks(quantile: Fraction, n: int) -> tuple[int, int, float]:
    """Return the ranks from the top, counted from 0, between which Hazen's quantile of n values lies.

    The position from the bottom is q·n − 1/2 (numpy's ``method="hazen"``), in exact arithmetic: where it is whole, the
    quantile is one of the values, and what is equal to it does not exceed it.

    Returns:
        The rank below, the rank above, and how far the quantile lies from the first to the second, in [0, 1).
    """
    position = min(max(quantile * n - Fraction(1, 2), Fraction(0)), Fraction(n - 1))
    below = math.floor(position)
    return n - 1 - below, max(n - 2 - below, 0), float(position - below)
