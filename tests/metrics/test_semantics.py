"""LC, CS1 and CS2 against hand-worked cases and a literal transcription; levels, curve, correlations, AUC."""

import csv
import math

import numpy as np
import pytest
import scipy
import torch
from reference import semantics as literal
from scipy.stats import spearmanr

from lightning_advinterp.data.imagenet_classes import imagenet_classes
from lightning_advinterp.metrics.following import auc, follows
from lightning_advinterp.metrics.semantics import (
    ClassSpace,
    chance_level,
    class_shares,
    consistency_of_semantics,
    entropy,
    level_of_consistency,
    nearness,
    whole_space,
)
from lightning_advinterp.metrics.semantics_curve import (
    bin_edges,
    binned_curve,
    bootstrap_mean,
    bootstrap_means,
    smooth_curve,
    spearman_within,
)
from lightning_advinterp.taxonomy.wordnet import class_distances, class_similarity

# Two siblings (distance 2) and a stranger.
DISTANCES = [[0.0, 2.0, math.inf], [2.0, 0.0, math.inf], [math.inf, math.inf, 0.0]]
SIBLING = math.exp(-2)
C = class_similarity(torch.tensor(DISTANCES))


def p_of(*classes):
    return class_shares(torch.tensor([classes]), torch.ones(1, len(classes), dtype=torch.bool), 3)


def test_by_hand():
    assert level_of_consistency(p_of(1, 1, 1), C).item() == 1.0
    assert level_of_consistency(p_of(0, 1), C).item() == pytest.approx((1 + SIBLING) / 2)
    assert level_of_consistency(p_of(0, 2), C).item() == pytest.approx(0.5)
    assert consistency_of_semantics(p_of(0, 0), p_of(1, 1), C).item() == pytest.approx(SIBLING)
    assert consistency_of_semantics(p_of(0, 1), p_of(2, 2), C).item() == 0.0
    assert consistency_of_semantics(p_of(0, 1, 2), p_of(2, 0, 1), C).item() == pytest.approx(1.0)
    assert entropy(p_of(0, 0, 1, 1)).item() == pytest.approx(math.log(2))
    assert entropy(p_of(0, 0)).item() == 0.0


def test_dead_units_and_images_outside():
    classes = torch.tensor([[0, 1, -1, 2], [0, 1, 2, 2], [-1, -1, -1, -1]])
    counted = torch.tensor([[True, True, True, False], [False] * 4, [True] * 4])
    shares = class_shares(classes, counted, 3)
    assert shares[0].tolist() == [0.5, 0.5, 0.0]
    assert shares[1:].isnan().all()
    assert level_of_consistency(shares, C).isnan().tolist() == [False, True, True]
    assert consistency_of_semantics(shares, shares, C).isnan().tolist() == [False, True, True]


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_literal_equations(seed):
    generator = torch.Generator().manual_seed(seed)
    wnids = [entry.wnid for entry in imagenet_classes()][seed * 50 : seed * 50 + 40]
    distances = class_distances(wnids)
    c, c_literal = class_similarity(distances, sigma=1 + seed), literal.similarity(distances.tolist(), 1 + seed)
    tops = [torch.randint(0, 40, (9, 12), generator=generator) for _ in range(2)]
    p, q = (class_shares(top, torch.ones_like(top, dtype=torch.bool), 40) for top in tops)
    for unit in range(9):
        a, b = (literal.shares(top[unit].tolist(), 40) for top in tops)
        assert p[unit].tolist() == pytest.approx(a, abs=1e-15)
        assert level_of_consistency(p, c)[unit].item() == pytest.approx(literal.lc(a, c_literal), abs=1e-14)
        expected = literal.cs(a, b, c_literal)
        assert consistency_of_semantics(p, q, c)[unit].item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("images", [1, 8, 200])
def test_either_product_is_the_literal_sum(images):
    """Few images of many classes are multiplied as sparse rows, many as dense ones."""
    generator = torch.Generator().manual_seed(images)
    c = torch.rand(100, 100, dtype=torch.float64, generator=generator)
    top = torch.randint(0, 100, (7, images), generator=generator)
    p = class_shares(top, (torch.arange(7) > 0)[:, None].expand(-1, images), 100)  # the first unit is dead
    expected = (p[:, :, None] * c).sum(dim=1)
    torch.testing.assert_close(nearness(p, c), expected, rtol=0, atol=1e-12, equal_nan=True)


def test_ranges():
    """LC in (0, 1], at least 1/k; CS in [0, 1] where C is positive definite."""
    generator = torch.Generator().manual_seed(0)
    c = class_similarity(class_distances([entry.wnid for entry in imagenet_classes()]))
    tops = [torch.randint(0, 1000, (2000, 20), generator=generator) for _ in range(2)]
    p, q = (class_shares(top, torch.ones_like(top, dtype=torch.bool), 1000) for top in tops)
    lc, cs = level_of_consistency(p, c), consistency_of_semantics(p, q, c)
    assert (lc >= 1 / 20).all()
    assert (lc <= 1).all()
    assert (cs >= 0).all()
    assert (cs <= 1).all()
    ones = torch.ones(3, 3, dtype=torch.float64)
    assert float(level_of_consistency(p_of(0, 1, 2), ones)) <= 1


def test_class_space():
    space = ClassSpace((7, 2), ("g", "b"), torch.eye(2))
    assert space.local(torch.tensor([[2, 7], [0, 900]])).tolist() == [[1, 0], [-1, -1]]
    logits = torch.zeros(1, 10)
    logits[0, 5], logits[0, 2] = 9, 1
    assert space.predicted(logits).tolist() == [1], "output 5 is the likeliest, but no member"
    assert whole_space(["a", "b"], torch.eye(2)).members == (0, 1)
    with pytest.raises(ValueError, match="members must be different outputs"):
        ClassSpace((1, 1), ("a", "b"), torch.eye(2))


def test_chance_by_hand():
    # One image each of two strangers, one kept: LC is 1; p and q agree every second time.
    chance = chance_level(torch.tensor([1, 0, 1]), torch.tensor([0, 2, 0]), 1, C, draws=4000)
    assert chance.lc == 1
    assert chance.cs1 == pytest.approx(0.5, abs=0.03)
    assert chance.cs2 == pytest.approx(SIBLING / 2, abs=0.01)
    # All images kept: nothing is left to chance.
    everything = chance_level(torch.tensor([1, 1, 0]), None, 2, C, draws=10)
    assert (everything.lc, everything.cs1) == (pytest.approx((1 + SIBLING) / 2), pytest.approx(1))
    assert math.isnan(everything.cs2)
    assert math.isnan(chance_level(torch.zeros(3, dtype=torch.int64), None, 1, C).lc)


@pytest.mark.real
def test_chance_of_the_two_thousand_imagenet_images(real_data):
    """SPEC 5.1: 0.051 and 0.038 for 2,000 images of 1,000 classes and k = 20."""
    labels = list(range(1000))
    with (real_data / "imagenet_nips2017" / "images.csv").open() as file:
        labels += [int(row["index"]) for row in csv.DictReader(file)]
    counts = torch.bincount(torch.tensor(labels), minlength=1000)
    assert int(counts.sum()) == 2000
    c = class_similarity(class_distances([entry.wnid for entry in imagenet_classes()]))
    chance = chance_level(counts, None, 20, c, draws=1000)
    assert chance.lc == pytest.approx(0.051, abs=0.001)
    assert chance.cs1 == pytest.approx(0.038, abs=0.005)


def test_binned_curve_by_hand():
    lc = np.array([0.0, 0.04, 0.05, 0.15, 0.15, 1.0, np.nan, 0.2])
    cs = np.array([0.2, 0.4, 0.5, 0.1, 0.3, 0.9, 0.5, np.nan])
    points = binned_curve(lc, cs, least=2)
    assert [point.units for point in points if point.units] == [2, 1, 2, 1]
    assert [(round(point.low, 2), round(point.high, 2)) for point in points[:2]] == [(0, 0.05), (0.05, 0.1)]
    assert points[0].mean == pytest.approx(0.3)
    assert points[3].mean == pytest.approx(0.2), "0.15 belongs to the bin that begins there"
    assert points[19].units == 1
    assert math.isnan(points[19].mean)
    assert (points[0].mean_low, points[0].mean_high) == (pytest.approx(0.2), pytest.approx(0.4))


def test_quantile_bins_hold_equal_numbers_of_units():
    generator = np.random.default_rng(0)
    lc, cs = generator.uniform(0, 0.1, 120) ** 2, generator.uniform(size=120)
    lc[7] = np.nan
    edges = bin_edges(lc, 12, "quantile")
    points = binned_curve(lc, cs, edges)
    assert [point.units for point in points] == pytest.approx([119 / 12] * 12, abs=1)
    assert sum(point.units for point in points) == 119
    inside = (lc >= points[3].low) & (lc < points[3].high)
    assert points[3].mean == pytest.approx(cs[inside].mean())
    assert (edges[0], edges[-1]) == (np.nanmin(lc), np.nanmax(lc))
    assert sum(point.units > 1 for point in binned_curve(lc, cs)) == 1, "equal bins hold them all in one"


def test_bins_along_the_axis_of_dong_2017():
    """Equal for all networks, uneven, and nothing is left out."""
    lc = np.array([0.0, 0.017, 0.018, 0.02, 0.1, 0.354, 0.355, 1.0, np.nan])
    edges = bin_edges(lc, 12, "dong2017")
    assert (edges[0], edges[-1], len(edges)) == (0, 1, 15)
    assert (edges[1], edges[-2]) == pytest.approx((0.018, 0.355), rel=1e-12)
    factors = edges[2:-1] / edges[1:-2]
    assert factors == pytest.approx([(0.355 / 0.018) ** (1 / 12)] * 12)
    points = binned_curve(lc, lc, edges, least=1)
    counts = [0] * 14
    for value in lc[:-1]:
        counts[sum(value >= edge for edge in [*edges[1:-2], 0.355])] += 1  # the edge itself is a rounding away
    assert [point.units for point in points] == counts
    assert (counts[0], counts[1], counts[-1]) == (2, 2, 2)


def test_quantiles_that_coincide_make_fewer_bins():
    lc = np.array([0.1] * 9 + [0.3])
    assert [point.units for point in binned_curve(lc, lc, bin_edges(lc, 4, "quantile"), least=1)] == [10]
    assert [point.units for point in binned_curve(lc[:9], lc[:9], bin_edges(lc[:9], 4, "quantile"))] == [9]
    assert binned_curve(lc[:0], lc[:0], bin_edges(lc[:0], 4, "quantile"))[0].units == 0


def test_intervals_cover_the_mean():
    generator = np.random.default_rng(0)
    covered = [
        low <= 0.5 <= high
        for seed in range(200)
        for (_, low, high) in [bootstrap_mean(generator.uniform(size=60), replicates=300, seed=seed)]
    ]
    assert 0.9 <= np.mean(covered) <= 0.99
    assert all(math.isnan(value) for value in bootstrap_mean(np.array([np.nan])))


def test_smooth_curve_against_its_definition():
    generator = np.random.default_rng(1)
    lc, cs = generator.uniform(0.3, 0.6, 50), generator.uniform(size=50)
    points = smooth_curve(lc, cs, points=11)
    for point in points:
        weights = [math.exp(-((point.low - at) ** 2) / (2 * 0.05**2)) for at in lc]
        effective = sum(weights) ** 2 / sum(w * w for w in weights)
        assert point.units == pytest.approx(effective)
        if effective >= 5 and sum(abs(point.low - at) < 0.15 for at in lc) >= 5:
            assert point.mean == pytest.approx(sum(w * v for w, v in zip(weights, cs, strict=True)) / sum(weights))
            assert point.mean_low <= point.mean <= point.mean_high
        else:
            assert math.isnan(point.mean)
    assert any(not math.isnan(point.mean) for point in points)
    assert all(math.isnan(point.mean) for point in smooth_curve(lc[:0], cs[:0]))


def test_smooth_curve_ends_where_the_units_do():
    """Units of equal LC weigh the same at any distance: their effective number says nothing about nearness."""
    lc = np.repeat([0.1, 0.2, 0.8], [8, 8, 4])
    points = smooth_curve(lc, np.linspace(0, 1, 20))
    assert all(point.units >= 5 for point in points if point.low < 0.4)
    shown = [point.low for point in points if not math.isnan(point.mean)]
    assert (min(shown), max(shown)) == (0, pytest.approx(0.35))
    assert all(math.isnan(point.mean_low) == math.isnan(point.mean) for point in points)


def test_rank_correlation_within_one_layer_is_spearmans():
    generator = np.random.default_rng(2)
    lc = generator.integers(0, 8, 40).astype(float)
    cs = lc + generator.normal(size=40) * 6
    correlation = spearman_within(np.zeros(40, dtype=int), lc, cs, permutations=4999)
    expected = spearmanr(lc, cs)
    assert correlation.rho == pytest.approx(expected.statistic, abs=1e-12)
    assert correlation.p_value == pytest.approx(expected.pvalue, abs=0.02)
    assert correlation.units == 40


def test_rank_correlation_does_not_mix_layers():
    """Simpson: within each layer CS rises with LC, over all layers it falls."""
    layer = np.repeat([0, 1, 2], 10)
    within = np.tile(np.arange(10.0), 3)
    lc, cs = within + 100 * layer, within - 100 * layer
    assert spearmanr(lc, cs).statistic < -0.7
    correlation = spearman_within(layer, lc, cs)
    assert correlation.rho == pytest.approx(1)
    assert correlation.p_value == pytest.approx(0.001)
    lc[layer == 2] = np.nan
    assert spearman_within(layer, lc, cs).units == 20
    cs[:] = 1.0
    assert math.isnan(spearman_within(layer, lc, cs).rho)


def test_auc_against_all_pairs():
    generator = np.random.default_rng(3)
    positive, negative = generator.integers(0, 5, (9, 4)).astype(float), generator.integers(0, 5, (13, 4)).astype(float)
    for unit in range(4):
        pairs = [(a > b) + 0.5 * (a == b) for a in positive[:, unit] for b in negative[:, unit]]
        assert auc(positive, negative)[unit] == pytest.approx(np.mean(pairs))
    assert np.isnan(auc(positive[:0], negative)).all()


def test_columns_share_draws_where_as_many_units_live():
    """To the bit: a draw of its own for every column, as it was, gives the same."""
    columns = np.random.default_rng(1).uniform(size=(4, 50))
    columns[1, :7], columns[2] = np.nan, np.nan
    expected = []
    for column in columns:
        living = column[np.isfinite(column)]
        if len(living):
            draws = np.random.default_rng(3).multinomial(len(living), np.full(len(living), 1 / len(living)), size=500)
            low, high = np.percentile(draws @ living / len(living), (2.5, 97.5))
            expected.append((living.mean(), low, high))
    intervals = bootstrap_means(columns, seed=3)
    assert all(math.isnan(value) for value in intervals.pop(2))
    assert intervals == expected


def test_auc_equals_that_of_scipys_ranks():
    values = np.random.default_rng(0).integers(-3, 9, (400, 5)).clip(0) / 8  # many ties, most of them of zeros
    values[7, 4] = np.nan
    ranks = scipy.stats.rankdata(values, axis=0)[:150]
    expected = (ranks.sum(axis=0) - 150 * 151 / 2) / (150 * 250)
    assert np.array_equal(auc(values[:150], values[150:]), expected, equal_nan=True)


def test_a_unit_that_follows_content_and_one_that_follows_the_prediction():
    true = np.array([0, 0, 0, 1, 1, 1])
    target = np.array([1, 1, 1, 0, 0, 0])
    shown, predicted = (true == 0).astype(float), (target == 0).astype(float)
    real = np.stack([shown, shown], axis=1)
    adversarial = np.stack([shown, predicted], axis=1)
    shares = follows(real, adversarial, true, target, np.array([0, 0]))
    assert shares.content.tolist() == [1.0, 0.5]
    assert shares.prediction.tolist() == [0.5, 1.0]
    assert np.isnan(follows(real, adversarial, true, target, np.array([-1, 5])).content[0])
