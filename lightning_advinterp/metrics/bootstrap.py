"""Intervals of means over seeds and images, for networks trained several times and tested on the same images."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Interval(NamedTuple):
    """A mean and its percentile interval.

    Attributes:
        mean: over all seeds and images.
        low: lower bound.
        high: upper bound.
    """

    mean: float
    low: float
    high: float


def paired_bootstrap(
    outcomes: Mapping[str, NDArray[np.bool_]],
    reference: str | None = None,
    *,
    replicates: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Bootstrap the mean outcome of every arm, or its difference to a reference arm, over seeds and images.

    One replicate draws seeds with replacement, then images with replacement, and takes the mean over both draws.
    Seeds and images are crossed (every trained network sees the same images), so a replicate's images are drawn once
    for all its seeds: an image that is hard for one network is hard for the others, and drawing anew for every seed
    would count it as independent evidence. All arms share the draws, so differences are paired.

    Args:
        outcomes: arm to bool ``[S, N]``: whether the network of each seed is right on each image; one shape for all.
        reference: an arm; then every interval is of "arm minus reference".
        replicates: number of bootstrap replicates.
        level: of the interval.
        seed: of the draws.

    Returns:
        Arm to interval.

    Raises:
        ValueError: if the arms' shapes differ, or there is no such reference.
    """
    shapes = {array.shape for array in outcomes.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        sizes = {arm: array.shape for arm, array in outcomes.items()}
        raise ValueError(f"outcomes must all have one shape [seeds, images], got {sizes}.")
    if reference is not None and reference not in outcomes:
        raise ValueError(f"reference must be one of {', '.join(outcomes)}, got {reference!r}.")
    ((seeds, images),) = shapes
    generator = np.random.default_rng(seed)
    seed_shares = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates) / seeds
    image_shares = generator.multinomial(images, np.full(images, 1 / images), size=replicates) / images
    tail = 50 * (1 - level)
    intervals = {}
    for arm, array in outcomes.items():
        values = array.astype(float)
        if reference is not None:
            values = values - outcomes[reference]
        means = np.einsum("rs,sn,rn->r", seed_shares, values, image_shares, optimize=True)
        low, high = np.percentile(means, (tail, 100 - tail))
        intervals[arm] = Interval(float(values.mean()), float(low), float(high))
    return intervals


def image_weights(images: int, *, replicates: int = 1000, seed: int = 0) -> Tensor:
    """Return how often each replicate draws each image, float64 ``[R, N]``.

    Cells or pixels of one image are no independent evidence; images are.
    """
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.multinomial(images, np.full(images, 1 / images), size=replicates).astype(float))


def pooled_ratio(numerator: Tensor, denominator: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return Σ numerator / Σ denominator over images, its 95 % percentile interval over images, and its replicates.

    Args:
        numerator: float64 ``[N, …]``; NaN where an image has no value, which leaves it out of both sums.
        denominator: likewise, or ones for a mean.
        weights: from :func:`image_weights`.

    Returns:
        The ratio, lower and upper bound, ``[…]`` each, and ``[R, …]``. NaN where the denominator is 0; below two images
        the bounds are NaN.
    """
    denominator = denominator.expand_as(numerator)
    absent = numerator.isnan() | denominator.isnan()
    top, bottom = (part.masked_fill(absent, 0).flatten(1) for part in (numerator, denominator))
    ratio = top.sum(0) / bottom.sum(0)
    replicates = (weights @ top) / (weights @ bottom)
    low, high = torch.nanquantile(replicates, torch.tensor([0.025, 0.975], dtype=top.dtype), dim=0)
    few = (~absent).flatten(1).sum(0) < 2
    shape = numerator.shape[1:]
    bounds = (bound.masked_fill(few, torch.nan).view(shape) for bound in (low, high))
    return ratio.view(shape), *bounds, replicates.view(len(weights), *shape)
