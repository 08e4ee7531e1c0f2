"""Risk and coverage of predictions that are given only where a score is high enough (Geifman & El-Yaniv 2017)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_advinterp.metrics.detection import Estimate

Values = NDArray[np.float64]


class _Groups(NamedTuple):
    """Images of equal confidence, the most confident first.

    Attributes:
        order: the images' places.
        starts: where each group begins.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]


def _groups(confidence: Values) -> _Groups:
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    return _Groups(order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])))


def risk_at(confidence: Values, wrong: NDArray[np.bool_]) -> Values:
    """Return the risk at every coverage 1/n, 2/n, …, 1: the share of errors among the most confident images.

    Images of equal confidence have no order: the risk is the mean over all orders.

    Args:
        confidence: ``[N]``, higher is more confident; −∞ for the least.
        wrong: bool ``[N]``.

    Returns:
        ``[N]``.
    """
    if not len(confidence):
        return np.zeros(0)
    groups = _groups(confidence)
    errors = np.add.reduceat(wrong[groups.order].astype(float), groups.starts).cumsum()
    ends = np.append(groups.starts[1:], len(confidence))
    counts = np.arange(1, len(confidence) + 1)
    cumulative = np.interp(counts, np.append(0, ends), np.append(0.0, errors))
    return np.asarray(cumulative / counts)


def aurc(confidence: Values, wrong: NDArray[np.bool_], *, replicates: int = 1000, seed: int = 0) -> Estimate:
    """Return the area under the risk–coverage curve, its mean over all coverages, with a bootstrap interval.

    Lower is better: 0 without errors, the error rate where the confidence knows nothing.

    Args:
        confidence: ``[N]``.
        wrong: bool ``[N]``.
        replicates: draws of N images with replacement.
        seed: of the draws.
    """
    images = len(confidence)
    if not images:
        return Estimate(np.nan, np.nan, np.nan)
    value = float(risk_at(confidence, wrong).mean())
    groups = _groups(confidence)
    hits = wrong[groups.order].astype(np.int64)
    harmonic = np.append(0.0, (1 / np.arange(1, images + 1)).cumsum())
    generator = np.random.default_rng(seed)
    areas = []
    step = max(1, (1 << 22) // images)
    for start in range(0, replicates, step):
        draws = generator.multinomial(images, np.full(images, 1 / images), size=min(step, replicates - start))
        weights = draws[:, groups.order]
        areas.append(_areas(weights, hits, groups.starts, harmonic))
    low, high = np.percentile(np.concatenate(areas), (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def _areas(weights: NDArray[np.int64], hits: NDArray[np.int64], starts: NDArray[np.int64], harmonic: Values) -> Values:
    """Return every replicate's area, ``[R]``, in closed form.

    A group of m images, e of them wrong, that follows c images with E errors has the risk (E + (k − c) e/m)/k at the
    k-th image; the sum over its images is e + (E − c e/m)(H(c + m) − H(c)), H the harmonic numbers.
    """
    counts = np.add.reduceat(weights, starts, axis=1)
    errors = np.add.reduceat(weights * hits, starts, axis=1)
    ends = counts.cumsum(1)
    before, errors_before = ends - counts, errors.cumsum(1) - errors
    rate = errors / np.maximum(counts, 1)
    sums = errors + (errors_before - before * rate) * (harmonic[ends] - harmonic[before])
    return np.asarray(sums.sum(1) / weights.sum(1))


def best_aurc(wrong: NDArray[np.bool_]) -> float:
    """Return the AURC of a score that puts every right prediction before every wrong one."""
    return float(risk_at(-wrong.astype(float), wrong).mean()) if len(wrong) else float("nan")
