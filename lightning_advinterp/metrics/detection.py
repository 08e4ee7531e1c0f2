"""How well a score tells attacked from real images: threshold, AUROC, true positive rate, and their intervals.

Scores are suspicions: higher is more suspicious, +∞ is allowed.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_CHUNK = 1 << 22  # numbers at a time


class Estimate(NamedTuple):
    """A number and its 95 % percentile interval; NaN where there is nothing to measure.

    Attributes:
        value: of the images.
        low: lower bound.
        high: upper bound.
    """

    value: float
    low: float
    high: float


class Detection(NamedTuple):
    """What a score can do against an attack.

    Attributes:
        auroc: probability that an attacked image is more suspicious than a real one; equal ones count half.
        tpr: share of the attacked images above the calibrated threshold.
    """

    auroc: Estimate
    tpr: Estimate


def least_calibration(rate: float) -> int:
    """Return how many images a calibration needs: with fewer no threshold keeps the rate.

    >>> least_calibration(0.05)
    19
    """
    return math.ceil(1 / rate - 1e-9) - 1


def false_alarm_threshold(scores: Values, rate: float) -> float:
    """Return the threshold above which at most a share of new real images is expected, whatever their distribution.

    It is the ⌈(1 − rate)(n + 1)⌉-th smallest score, as in conformal prediction: the plain quantile of n scores would be
    exceeded more often.

    Args:
        scores: of real images, ``[N]``.
        rate: of false alarms; an image is flagged where its score is greater than the threshold.

    Raises:
        ValueError: if there are too few images.
    """
    place = math.ceil((1 - rate) * (len(scores) + 1) - 1e-9)
    if place > len(scores):
        raise ValueError(f"a rate of {rate:g} needs {least_calibration(rate)} images or more, got {len(scores)}.")
    return float(np.sort(scores)[place - 1])


def auroc(real: Values, attacked: Values) -> float:
    """Return the area under the ROC curve, by ranks; NaN where either is empty."""
    if not len(real) or not len(attacked):
        return math.nan
    ordered = np.sort(real)
    below, upto = (np.searchsorted(ordered, attacked, side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(real)))


def detection(
    real: Values,
    attacked: Values,
    counted: NDArray[np.bool_],
    calibration: Values,
    rate: float,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Detection:
    """Return AUROC and true positive rate with bootstrap intervals.

    One replicate draws the reported images with replacement, each with both its scores, and the images of the
    calibration, whose threshold is taken anew: an interval knows that the threshold is an estimate too.

    Args:
        real: ``[N]``, scores of the reported images.
        attacked: ``[N]``, scores of the same images under an attack.
        counted: bool ``[N]``, the attacked images that count.
        calibration: ``[C]``, scores of real images that are not reported.
        rate: of false alarms.
        replicates: number of bootstrap replicates.
        seed: of the draws.
    """
    threshold = false_alarm_threshold(calibration, rate)
    positive = attacked[counted]
    if not len(positive):
        nothing = Estimate(math.nan, math.nan, math.nan)
        return Detection(nothing, nothing)
    area, share = auroc(real, positive), float((positive > threshold).mean())
    generator = np.random.default_rng(seed)
    areas, shares = [], []
    step = max(1, _CHUNK // (len(real) + len(calibration)))
    for start in range(0, replicates, step):
        count = min(step, replicates - start)
        weights = _draws(generator, len(real), count)
        limits = _thresholds(calibration, _draws(generator, len(calibration), count), rate)
        areas.append(_areas(real, positive, weights, weights[:, counted]))
        shares.append(_shares_above(positive, weights[:, counted], limits))
    return Detection(
        Estimate(area, *_percentiles(np.concatenate(areas))), Estimate(share, *_percentiles(np.concatenate(shares)))
    )


def _draws(generator: np.random.Generator, images: int, replicates: int) -> NDArray[np.int64]:
    """Return how often each image is drawn, ``[R, N]``."""
    return generator.multinomial(images, np.full(images, 1 / images), size=replicates)


def _thresholds(calibration: Values, weights: NDArray[np.int64], rate: float) -> Values:
    """Return every replicate's threshold, ``[R]``."""
    order = np.argsort(calibration, kind="stable")
    place = math.ceil((1 - rate) * (len(calibration) + 1) - 1e-9)
    first = (weights[:, order].cumsum(1) >= place).argmax(1)
    return np.asarray(calibration[order][first])


def _areas(real: Values, positive: Values, negatives: NDArray[np.int64], positives: NDArray[np.int64]) -> Values:
    """Return every replicate's AUROC, ``[R]``; NaN where no attacked image was drawn."""
    order = np.argsort(real, kind="stable")
    ordered = real[order]
    total = np.concatenate([np.zeros((len(negatives), 1)), negatives[:, order].cumsum(1)], axis=1)
    below, upto = (np.searchsorted(ordered, positive, side) for side in ("left", "right"))
    won = (positives * (total[:, below] + total[:, upto])).sum(1) / 2
    drawn = positives.sum(1).astype(float)
    return np.asarray(won / np.where(drawn > 0, drawn * negatives.sum(1), np.nan))


def _shares_above(positive: Values, weights: NDArray[np.int64], limits: Values) -> Values:
    drawn = weights.sum(1).astype(float)
    above = (weights * (positive[None] > limits[:, None])).sum(1)
    return np.asarray(above / np.where(drawn > 0, drawn, np.nan))


def _percentiles(values: Values) -> tuple[float, float]:
    inside = values[~np.isnan(values)]
    if not len(inside):
        return math.nan, math.nan
    low, high = np.percentile(inside, (2.5, 97.5))
    return float(low), float(high)
