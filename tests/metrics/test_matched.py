"""Matched pairs and their tests against brute force and scipy."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from lightning_advinterp.metrics.matched import cliffs_delta, compare_pairs, holm, matched_pairs


def test_the_pairing_has_the_smallest_sum_of_all():
    generator = np.random.default_rng(0)
    features, chosen = generator.random((9, 2)), np.arange(9) < 4
    first, second = matched_pairs(features, chosen, caliper=1)
    ranks = stats.rankdata(features, axis=0) / 9

    def cost(partners):
        return sum(((ranks[a] - ranks[b]) ** 2).sum() for a, b in zip(range(4), partners, strict=True))

    best = min(permutations(range(4, 9), 4), key=cost)
    assert dict(zip(first.tolist(), second.tolist(), strict=True)) == dict(zip(range(4), best, strict=True))


def test_the_caliper_leaves_as_many_pairs_as_it_can():
    """The nearest pairing of all, 1–3, 2–5, 4–7, 6–8, has no pair within the caliper."""
    features, chosen = np.array([1.0, 2, 4, 6, 3, 5, 7, 8])[:, None], np.arange(8) >= 4
    first, second = matched_pairs(features, chosen, caliper=1 / 8)
    assert features[first, 0].tolist() == [3, 5, 7]
    assert features[second, 0].tolist() == [2, 4, 6]


def test_matching_does_not_depend_on_scales_and_keeps_to_the_caliper():
    generator = np.random.default_rng(1)
    features, chosen = generator.random((60, 3)), np.arange(60) % 3 == 0
    pairs = matched_pairs(features, chosen, caliper=0.2)
    again = matched_pairs(np.stack([1e6 * features[:, 0], np.exp(features[:, 1]), features[:, 2] ** 3], 1), chosen, 0.2)
    assert np.array_equal(pairs, again)
    ranks = stats.rankdata(features, axis=0) / 60
    assert np.abs(ranks[pairs[0]] - ranks[pairs[1]]).max() <= 0.2
    assert len(set(pairs[0])) == len(set(pairs[1])) == len(pairs[0]) > 5
    assert chosen[pairs[0]].all()
    assert not chosen[pairs[1]].any()


def test_a_unit_without_a_feature_and_an_empty_group_are_in_no_pair():
    features = np.array([[0.0], [np.nan], [0.1], [0.2]])
    first, second = matched_pairs(features, np.array([True, True, False, False]), caliper=1)
    assert (first.tolist(), second.tolist()) == ([0], [2])
    assert len(matched_pairs(features, np.zeros(4, bool))[0]) == 0


def test_matching_takes_away_what_the_features_explain():
    """Sensitivity that depends on the mean alone: the groups differ, the pairs do not."""
    generator = np.random.default_rng(2)
    chosen = generator.random(400) < 0.4
    mean = generator.random(400) + 0.3 * chosen
    sensitivity = mean + 0.01 * generator.random(400)
    first, second = matched_pairs(mean[:, None], chosen, caliper=0.02)
    assert cliffs_delta(sensitivity[chosen], sensitivity[~chosen]) > 0.4
    comparison = compare_pairs(sensitivity[first], sensitivity[second])
    assert abs(comparison.effect) < 0.05
    assert comparison.p > 0.2


def test_statistics_are_scipys():
    generator = np.random.default_rng(3)
    first, second = generator.random(7) + 0.2, generator.random(7)
    comparison = compare_pairs(first, second)
    test = stats.mannwhitneyu(first, second, alternative="greater")
    assert comparison.p == test.pvalue
    assert comparison.effect == pytest.approx(2 * test.statistic / 49 - 1)
    assert comparison.effect == pytest.approx(np.sign(first[:, None] - second).mean())
    signs = np.array(list(product((1, -1), repeat=7)))
    differences = (signs * (first - second)).mean(1)
    exact = np.mean(differences >= (first - second).mean() - 1e-12)  # all 128 exchanges
    assert comparison.p_permutation == pytest.approx(exact)
    assert (comparison.first, comparison.second) == (first.mean(), second.mean())
    assert comparison.low <= comparison.effect <= comparison.high
    assert compare_pairs(first[:1], second[:1]) is None


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(4)
    truth = 2 * stats.norm.cdf(0.5 / 2**0.5) - 1  # Cliff's delta of N(0.5, 1) and N(0, 1)
    inside = 0
    for seed in range(60):
        comparison = compare_pairs(generator.normal(0.5, 1, 40), generator.normal(0, 1, 40), seed)
        inside += comparison.low <= truth <= comparison.high
    assert inside >= 51  # below 51 of 60: less than one time in 1,000


def test_holm_by_hand_and_by_its_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1, 1]
    p = np.random.default_rng(5).random(8) ** 3
    for level in (0.01, 0.05, 0.2):  # step down: reject while p_(i) <= level / (m - i)
        rejected = np.zeros(8, bool)
        for place, number in enumerate(np.argsort(p)):
            if p[number] > level / (8 - place):
                break
            rejected[number] = True
        assert (np.array(holm(list(p))) <= level).tolist() == rejected.tolist()
