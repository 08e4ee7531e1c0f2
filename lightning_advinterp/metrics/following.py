"""Does a unit follow what an adversarial image shows, or what the network says of it?"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_advinterp.metrics.heatmaps import average_ranks

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
        ``[U]``; NaN where there are no positives or no negatives, or one of them is NaN.
    """
    p, n = len(positive), len(negative)
    if not p or not n:
        return np.full(positive.shape[1], np.nan)
    both = np.concatenate([positive, negative])
    # Not SciPy's rankdata: importing scipy.stats takes 0.6 s of CPU time.
    ranks = average_ranks(torch.from_numpy(np.ascontiguousarray(both.T))).numpy()[:, :p]
    areas: Values = (ranks.sum(axis=1) - p * (p + 1) / 2) / (p * n)
    areas[np.isnan(both).any(axis=0)] = np.nan
    return areas


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
