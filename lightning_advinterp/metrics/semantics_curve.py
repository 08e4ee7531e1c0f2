"""CS against LC: the curve of Fig. 10 of Dong et al. 2022, and rank correlations that do not mix layers."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_advinterp.metrics.heatmaps import average_ranks

Values = NDArray[np.float64]
Binning = Literal["equal", "quantile", "dong2017"]
"""Bins of equal width on [0, 1], of equal numbers of units, or along the axis of Dong et al. 2017."""
BINNINGS: tuple[Binning, ...] = get_args(Binning)

DONG_2017 = (0.018, 0.355)
"""The ends of the axis of LC in Dong et al. 2017, Fig. 8: .018 to .30, .10 and .355 for AlexNet, VGG-16, ResNet-18."""


class CurvePoint(NamedTuple):
    """The mean of some units' values.

    Attributes:
        low: lower end of the bin; for the smooth curve the LC at its centre.
        high: upper end; likewise.
        units: number of units; for the smooth curve the effective number, ``(Σw)² / Σw²``.
        mean: NaN where there are too few units.
        mean_low: lower bound of its 95 % bootstrap interval over units.
        mean_high: upper bound.
    """

    low: float
    high: float
    units: float
    mean: float
    mean_low: float
    mean_high: float


def bin_edges(lc: Values, bins: int = 20, binning: Binning = "equal") -> Values:
    """Return the edges of bins of LC, ``[N + 1]``, rising.

    Args:
        lc: ``[U]`` in [0, 1]; NaN is left out.
        bins: their number. Quantiles that coincide make fewer.
        binning: ``equal``; ``quantile``; or ``dong2017``: between the ends of that paper's axis, so that several
            networks have the same bins, and one more on either side for units beyond. The axis is uneven and its ticks
            are not in the text at hand: here each bin is wider than the one before by the same factor.
    """
    if binning == "equal":
        return np.arange(bins + 1) / bins
    if binning == "dong2017":
        return np.concatenate([[0.0], np.geomspace(*DONG_2017, bins + 1), [1.0]])
    living = lc[~np.isnan(lc)]
    if not len(living):
        return np.array([0.0, 1.0])
    edges = np.unique(np.quantile(living, np.linspace(0, 1, bins + 1)))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0]])


def binned_curve(
    lc: Values, cs: Values, edges: Values | None = None, *, least: int = 5, replicates: int = 1000, seed: int = 0
) -> list[CurvePoint]:
    """Average CS over the units in bins of LC.

    Args:
        lc: ``[U]`` in [0, 1].
        cs: ``[U]``; units where either is NaN are left out.
        edges: of the bins, as :func:`bin_edges` returns them, by default 20 of equal width; a unit at an inner edge
            belongs to the bin above, the last bin includes its upper edge.
        least: with fewer units a bin has no mean.
        replicates: bootstrap replicates, over the bin's units.
        seed: of the bootstrap.
    """
    lc, cs = _living(lc, cs)
    edges = bin_edges(lc) if edges is None else edges
    bins = len(edges) - 1
    # The small share is for values such as 0.15, which lie a rounding below the edge that they stand for.
    place = (np.searchsorted(edges, lc + 1e-9 / 20, side="right") - 1).clip(0, bins - 1)
    generator = np.random.default_rng(seed)
    points = []
    for number in range(bins):
        values = cs[place == number]
        mean = low = high = float("nan")
        if len(values) >= least:
            draws = generator.multinomial(len(values), np.full(len(values), 1 / len(values)), size=replicates)
            low, high = np.percentile(draws @ values / len(values), (2.5, 97.5))
            mean = float(values.mean())
        ends = float(edges[number]), float(edges[number + 1])
        points.append(CurvePoint(*ends, len(values), mean, float(low), float(high)))
    return points


def smooth_curve(
    lc: Values,
    cs: Values,
    *,
    bandwidth: float = 0.05,
    points: int = 41,
    least: float = 5,
    replicates: int = 500,
    seed: int = 0,
) -> list[CurvePoint]:
    """Average CS over the units near each LC, weighted by a Gaussian kernel (Nadaraya–Watson).

    The curve ends where the units do: however far away they are, units of equal LC weigh the same, so a place needs
    units within three bandwidths too.

    Args:
        lc: ``[U]`` in [0, 1].
        cs: ``[U]``; units where either is NaN are left out.
        bandwidth: the kernel's standard deviation, in units of LC.
        points: places on [0, 1].
        least: with fewer effective units, or fewer within three bandwidths, a place has no mean.
        replicates: bootstrap replicates, over units.
        seed: of the bootstrap.
    """
    lc, cs = _living(lc, cs)
    grid = np.linspace(0, 1, points)
    if not len(lc):
        return [CurvePoint(float(at), float(at), 0.0, *[float("nan")] * 3) for at in grid]
    away = np.abs(grid[:, None] - lc)
    weights = np.exp(-(away**2) / (2 * bandwidth**2))
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.nan_to_num(total**2 / (weights**2).sum(axis=1))
        means = weights @ cs / total
        draws = np.random.default_rng(seed).multinomial(len(lc), np.full(len(lc), 1 / len(lc)), size=replicates)
        spread = (draws @ (weights * cs).T) / (draws @ weights.T)
    bounds = np.full((2, points), np.nan)
    enough = (effective >= least) & ((away <= 3 * bandwidth + 1e-9).sum(axis=1) >= least)
    bounds[:, enough] = np.nanpercentile(spread[:, enough], (2.5, 97.5), axis=0)
    means = np.where(enough, means, np.nan)
    return [
        CurvePoint(float(at), float(at), float(n), float(mean), float(low), float(high))
        for at, n, mean, low, high in zip(grid, effective, means, *bounds, strict=True)
    ]


class Correlation(NamedTuple):
    """A rank correlation within layers.

    Attributes:
        rho: mean of the layers' Spearman coefficients, weighted by their units; NaN where there are none.
        p_value: two-sided, by permutation within layers.
        units: number of units that count.
    """

    rho: float
    p_value: float
    units: int


def spearman_within(
    layer: NDArray[np.int64], lc: Values, cs: Values, *, permutations: int = 999, seed: int = 0
) -> Correlation:
    """Correlate the ranks of LC and CS within each layer.

    Pooled over layers they mislead (Simpson's paradox): deep layers have a high LC and a low CS1 whatever their units
    do among themselves. A layer with fewer than three living units, or of equal values, does not count.

    Args:
        layer: int ``[U]``, the unit's layer.
        lc: ``[U]``.
        cs: ``[U]``; units where either is NaN are left out.
        permutations: of CS among the units of a layer.
        seed: of the permutations.
    """
    alive = np.isfinite(lc) & np.isfinite(cs)
    generator = np.random.default_rng(seed)
    total, count, shuffled = 0.0, 0, np.zeros(permutations)
    for number in np.unique(layer[alive]):
        of_layer = alive & (layer == number)
        a, b = average_ranks(torch.from_numpy(np.stack([lc[of_layer], cs[of_layer]]))).numpy()
        a, b = a - a.mean(), b - b.mean()
        size = float(np.sqrt((a**2).sum() * (b**2).sum()))
        if len(a) < 3 or size == 0:
            continue
        count += len(a)
        total += len(a) * float(a @ b) / size
        rows = np.broadcast_to(b, (permutations, len(b)))
        shuffled += len(a) * (generator.permuted(rows, axis=1) @ a) / size
    if not count:
        return Correlation(float("nan"), float("nan"), 0)
    as_extreme = int((np.abs(shuffled) >= abs(total) - 1e-12).sum())
    return Correlation(total / count, (1 + as_extreme) / (1 + permutations), count)


def _living(lc: Values, cs: Values) -> tuple[Values, Values]:
    alive = np.isfinite(lc) & np.isfinite(cs)
    return lc[alive], cs[alive]


def bootstrap_mean(values: Values, *, replicates: int = 500, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of the living units' values and its 95 % bootstrap interval; NaN where there are none."""
    return bootstrap_means([values], replicates=replicates, seed=seed)[0]


def bootstrap_means(
    columns: Sequence[Values], *, replicates: int = 500, seed: int = 0
) -> list[tuple[float, float, float]]:
    """Return :func:`bootstrap_mean` of each column; as many living units have the same draws, made once.

    Args:
        columns: each ``[U]``; NaN where a unit is dead.
        replicates: bootstrap replicates, over the units.
        seed: of the bootstrap.
    """
    draws: dict[int, NDArray[np.int64]] = {}
    intervals = []
    for column in columns:
        values = column[np.isfinite(column)]
        count = len(values)
        if not count:
            intervals.append((float("nan"), float("nan"), float("nan")))
            continue
        if count not in draws:
            draws[count] = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=replicates)
        low, high = np.percentile(draws[count] @ values / count, (2.5, 97.5))
        intervals.append((float(values.mean()), float(low), float(high)))
    return intervals
