"""Risk and coverage against literal loops."""

import itertools

import numpy as np
import pytest

from lightning_advinterp.metrics.selective import aurc, best_aurc, risk_at


def literal_area(confidence, wrong):
    """Mean risk over all coverages, images one after another; they must differ in confidence."""
    order = sorted(range(len(confidence)), key=lambda image: -confidence[image])
    risks, errors = [], 0
    for count, image in enumerate(order, start=1):
        errors += bool(wrong[image])
        risks.append(errors / count)
    return sum(risks) / len(risks)


def test_equals_a_literal_loop():
    generator = np.random.default_rng(0)
    confidence, wrong = generator.normal(size=50), generator.random(50) < 0.3
    assert aurc(confidence, wrong).value == pytest.approx(literal_area(confidence, wrong))


def test_equal_confidences_take_the_mean_over_all_orders():
    confidence = np.array([2.0, 2, 2, 1, 1, 0])
    wrong = np.array([True, False, False, True, False, True])
    areas = []
    for first in itertools.permutations(range(3)):
        for second in itertools.permutations(range(3, 5)):
            order = [*first, *second, 5]
            areas.append(literal_area(-np.arange(6.0), wrong[order]))
    assert aurc(confidence, wrong).value == pytest.approx(np.mean(areas))
    assert risk_at(confidence, wrong) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1.5 / 4, 2 / 5, 3 / 6])


def test_the_interval_equals_a_literal_bootstrap():
    generator = np.random.default_rng(1)
    confidence, wrong = generator.normal(size=40).round(1), generator.random(40) < 0.4
    estimate = aurc(confidence, wrong, replicates=100, seed=7)
    draws = np.random.default_rng(7).multinomial(40, np.full(40, 1 / 40), size=100)
    areas = []
    for weights in draws:
        again = np.repeat(np.arange(40), weights)
        areas.append(risk_at(confidence[again], wrong[again]).mean())
    assert estimate[1:] == pytest.approx(tuple(np.percentile(areas, (2.5, 97.5))))


def test_the_least_and_what_knows_nothing():
    wrong = np.array([False, True, False, True])
    assert best_aurc(wrong) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert aurc(np.zeros(4), wrong).value == 0.5, "the error rate"
    assert aurc(np.zeros(4), np.zeros(4, bool)).value == 0
    assert aurc(np.array([np.inf, -np.inf, 0, -np.inf]), wrong).value == best_aurc(wrong)
    assert np.isnan(aurc(np.zeros(0), np.zeros(0, bool)).value)
