"""The bootstrap of detectors against a literal loop over replicates."""

import numpy as np
import pytest
import torch

from lightning_advinterp.metrics.concepts import best_concepts, count_detectors
from lightning_advinterp.metrics.detector_bootstrap import centred_interval, group_weights, resampled_detectors
from lightning_advinterp.metrics.dissection import ConceptCounts
from lightning_advinterp.metrics.label_maps import Vocabulary


def random_counts(groups=5, units=7, seed=0):
    generator = np.random.default_rng(seed)
    vocabulary = Vocabulary({1: 0, 2: 2, 3: 0, 9: 2, 300: 1}, ("a", "b", "c", "d"))
    counts = ConceptCounts(units, vocabulary, groups=groups)
    inside = generator.integers(0, 30, size=(groups, units, 6))
    counts.intersection += torch.from_numpy(inside).int()
    counts.area += torch.from_numpy(generator.integers(30, 200, size=(groups, units, 4)))
    counts.truth += torch.from_numpy(inside.max(axis=1) + generator.integers(0, 200, size=(groups, 6)))
    counts.truth[:, 2] = 0  # a label that no image has
    counts.intersection[:, :, 2] = 0
    return counts


def test_equals_a_literal_loop():
    counts, weights = random_counts(), group_weights(5, 30, seed=1)
    resampled = resampled_detectors(counts, weights, 0.1)
    words = counts.vocabulary
    for drawn, row in zip(weights, resampled, strict=True):
        picked = [group for group, times in enumerate(drawn) for _ in range(times)]
        inside = counts.intersection.long()[picked].sum(0)[:, :-1].numpy()
        area, truth = counts.area[picked].sum(0).numpy(), counts.truth[picked].sum(0)[:-1].numpy()
        iou = inside / np.maximum(area[:, words.category] + truth - inside, 1)
        literal = count_detectors(best_concepts(iou, np.array(words.numbers), words.category, 4), 0.1)
        assert row.tolist() == [*literal.units, literal.any]


def test_weights_draw_as_many_groups_as_there_are():
    weights = group_weights(8, 500, seed=0)
    assert (weights.sum(axis=1) == 8).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(8), abs=0.15)


def test_no_labels_no_detectors():
    counts = random_counts()
    counts.truth.zero_()
    assert (resampled_detectors(counts, group_weights(5, 3, seed=0), 0.1) == 0).all()


def test_intervals_hold_the_estimate_and_stay_in_bounds():
    """However biased the replicates are."""
    drawn = np.random.default_rng(0).normal(0.3, 0.05, 2000)
    low, high = centred_interval(0.6, drawn)
    assert (low, high) == pytest.approx((0.6 - 0.098, 0.6 + 0.098), abs=0.01)
    assert centred_interval(0.99, drawn)[1] == 1.0
    assert centred_interval(0.0, drawn)[0] == 0.0
