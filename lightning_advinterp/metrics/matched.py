"""Two groups of units, compared where they are alike in everything but what is asked: matched pairs and their tests."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RESAMPLES = 1999
"""Of permutations and of the bootstrap: the least p-value is 1/2000."""


def matched_pairs(
    features: Floats, chosen: NDArray[np.bool_], caliper: float = 0.1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair the rows of one group with rows of the other that resemble them most, each row once.

    Features are replaced by their ranks among all rows, from 0 to 1, so that no scale decides. Of the pairings within
    the caliper that have the most pairs, this one has the smallest sum of squared distances.

    Args:
        features: ``[N, F]``; a row with NaN is in no pair.
        chosen: bool ``[N]``, the first group.
        caliper: the largest difference of ranks in a pair, of any feature.

    Returns:
        The numbers of the pairs' rows, first group and second.
    """
    complete_rows = ~np.isnan(features).any(axis=1)
    ranks = np.full_like(features, np.nan)
    ranks[complete_rows] = scipy.stats.rankdata(features[complete_rows], axis=0) / max(1, complete_rows.sum())
    first, second = np.flatnonzero(complete_rows & chosen), np.flatnonzero(complete_rows & ~chosen)
    if not len(first) or not len(second):
        return first[:0], second[:0]
    far = scipy.spatial.distance.cdist(ranks[first], ranks[second], "chebyshev") > caliper
    # A pair that is not allowed costs more than all others together, so there are as few of them as can be.
    dear = 1.0 + ranks.shape[1] * len(ranks)
    costs = np.where(far, dear, scipy.spatial.distance.cdist(ranks[first], ranks[second], "sqeuclidean"))
    rows, columns = scipy.optimize.linear_sum_assignment(costs)
    near = ~far[rows, columns]
    return first[rows[near]], second[columns[near]]


class Comparison(NamedTuple):
    """What pairs say of the question whether the first group has the larger values.

    Attributes:
        pairs: how many.
        first: mean of the first group.
        second: mean of the second group.
        effect: Cliff's δ, from −1 to 1: how much more often a value of the first group is the larger one.
        low: its 95 % interval, by the bootstrap over pairs.
        high: likewise.
        p: Mann–Whitney, one-sided: that the first group's values are larger.
        p_permutation: likewise, of the mean difference, by exchanging values within pairs.
    """

    pairs: int
    first: float
    second: float
    effect: float
    low: float
    high: float
    p: float
    p_permutation: float


def cliffs_delta(first: Floats, second: Floats, axis: int = -1) -> Floats:
    """Return Cliff's δ of the values along an axis, from the ranks of both groups together."""
    n, m = first.shape[axis], second.shape[axis]
    ranks = scipy.stats.rankdata(np.concatenate([first, second], axis=axis), axis=axis)
    total = np.take(ranks, np.arange(n), axis=axis).sum(axis=axis)
    delta: Floats = 2 * (total - n * (n + 1) / 2) / (n * m) - 1
    return delta


def compare_pairs(first: Floats, second: Floats, seed: int = 0) -> Comparison | None:
    """Compare the values of matched pairs; None for fewer than two pairs.

    Args:
        first: ``[n]``.
        second: ``[n]``, of their partners.
        seed: of the bootstrap and the permutations.
    """
    if len(first) < 2:
        return None
    generator = np.random.default_rng(seed)
    effect = float(cliffs_delta(first, second))
    drawn = generator.integers(len(first), size=(_RESAMPLES, len(first)))
    low, high = np.percentile(cliffs_delta(first[drawn], second[drawn]), (2.5, 97.5))
    permuted = scipy.stats.permutation_test(
        (first, second),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        alternative="greater",
        random_state=generator,
    )
    p = float(scipy.stats.mannwhitneyu(first, second, alternative="greater").pvalue)
    means = float(first.mean()), float(second.mean())
    return Comparison(len(first), *means, effect, float(low), float(high), p, float(permuted.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: that any rejection at level α is wrong has a probability of at most α.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, least = list(p_values), 0.0
    for place, number in enumerate(sorted(range(len(adjusted)), key=lambda number: p_values[number])):
        least = max(least, min(1.0, (len(adjusted) - place) * p_values[number]))
        adjusted[number] = least
    return adjusted
