"""Does a unit follow what an adversarial image shows, or what the network says of it?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Classes = NDArray[np.int64]


class Following(NamedTuple):
    """AUC per unit, each ``[U]``: the probability that a positive image drives the unit more than a negative one.

    Negative are real images of other classes than the unit's modal class.

    Attributes:
        content: positive are adversarial images whose true class is the modal class.
        prediction: positive are adversarial images of other classes whose target is the modal class.
    """

    content: Values
    prediction: Values


def auc(positive: Values, negative: Values) -> Values:
    """Return the area under the ROC curve of every column; ties count half.

    Args:
        positive: ``[P, U]``.
        negative: ``[N, U]``.

    Returns:
        ``[U]``; NaN where there are no positives or no negatives.
    """
    p, n = len(positive), len(negative)
    if not p or not n:
        return np.full(positive.shape[1], np.nan)
    ranks = ranks_of_columns(np.concatenate([positive, negative]))[:p]
    areas: Values = (ranks.sum(axis=0) - p * (p + 1) / 2) / (p * n)
    return areas


def ranks_of_columns(values: Values) -> Values:
    """Return ranks from 1 on in every column, the mean of theirs for ties; NaN in a column that holds one.

    As ``scipy.stats.rankdata``, without the 0.6 s of CPU time that importing ``scipy.stats`` takes.

    Args:
        values: ``[N, U]``.
    """
    order = np.argsort(values, axis=0, kind="stable")
    ascending = np.take_along_axis(values, order, axis=0)
    changes = ascending[1:] != ascending[:-1]
    edge = np.ones((1, values.shape[1]), dtype=bool)
    place = np.arange(1, len(values) + 1)[:, None]
    begins, ends = np.concatenate([edge, changes]), np.concatenate([changes, edge])
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=0)
    last = np.minimum.accumulate(np.where(ends, place, len(values))[::-1], axis=0)[::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=0)
    ranks[:, np.isnan(values).any(axis=0)] = np.nan
    return ranks


def follows(real: Values, adversarial: Values, true: Classes, target: Classes, modal: Classes) -> Following:
    """Measure what the units' activations on adversarial images follow.

    Args:
        real: ``[N, U]``, activations of N real images.
        adversarial: ``[N, U]``, of the same images attacked.
        true: ``[N]``, their classes.
        target: ``[N]``, the classes they were attacked towards; −1 for none.
        modal: ``[U]``, each unit's most frequent class; −1 for dead units, which get NaN.

    Reference:
        Dong et al. 2022, section 2 and Fig. 2, where this is seen in pictures.
    """
    content, prediction = (np.full(real.shape[1], np.nan) for _ in range(2))
    for mode in np.unique(modal[modal >= 0]):
        units = np.flatnonzero(modal == mode)
        own = true == mode
        negative = real[np.ix_(~own, units)]
        content[units] = auc(adversarial[np.ix_(own, units)], negative)
        prediction[units] = auc(adversarial[np.ix_(~own & (target == mode), units)], negative)
    return Following(content, prediction)
