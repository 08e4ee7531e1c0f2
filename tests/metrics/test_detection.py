"""Thresholds, AUROC and true positive rates against literal definitions, torchmetrics and literal bootstraps."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_auroc

from lightning_advinterp.metrics.detection import auroc, detection, false_alarm_threshold, least_calibration


def scores(count, seed=0, decimals=1):
    """Rounded, so that many are equal."""
    return np.random.default_rng(seed).normal(size=count).round(decimals)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_auroc_equals_torchmetrics(decimals):
    real, attacked = scores(70, 1, decimals), (scores(40, 2, decimals) + 1).round(decimals)
    values = torch.tensor(np.concatenate([real, attacked]))
    target = torch.tensor([0] * 70 + [1] * 40)
    # torchmetrics takes what lies outside [0, 1] for logits, and a sigmoid makes equals of what is not
    expected = float(binary_auroc((values - values.min()) / (values.max() - values.min()), target))
    assert auroc(real, attacked) == pytest.approx(expected, abs=1e-6)


def test_auroc_of_what_is_missing_or_empty():
    assert auroc(np.array([0.0, np.inf]), np.array([np.inf])) == 0.75
    assert auroc(np.zeros(3), np.zeros(2)) == 0.5
    assert math.isnan(auroc(np.zeros(3), np.zeros(0)))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_the_threshold_keeps_its_rate_for_any_distribution(rate):
    """Over all places that a further image can take among n + 1, at most the rate lies above."""
    for n in range(least_calibration(rate), least_calibration(rate) + 30):
        everyone = np.arange(n + 1, dtype=float)
        flagged = sum(everyone[k] > false_alarm_threshold(np.delete(everyone, k), rate) for k in range(n + 1))
        assert flagged / (n + 1) <= rate + 1e-12
        assert (flagged + 1) / (n + 1) > rate, "it is no larger than it must be"


def test_too_few_images_have_no_threshold():
    with pytest.raises(ValueError, match="needs 19 images or more, got 18"):
        false_alarm_threshold(np.zeros(18), 0.05)
    assert false_alarm_threshold(np.arange(19.0), 0.05) == 18


def test_equals_a_literal_bootstrap():
    real, attacked, calibration = scores(30, 1), scores(30, 2) + 1, scores(25, 3)
    counted = np.random.default_rng(4).random(30) < 0.6
    estimates = detection(real, attacked, counted, calibration, 0.1, replicates=200, seed=5)
    generator = np.random.default_rng(5)
    draws = generator.multinomial(30, np.full(30, 1 / 30), size=200)
    limits = generator.multinomial(25, np.full(25, 1 / 25), size=200)
    areas, shares = [], []
    for images, calibrating in zip(draws, limits, strict=True):
        again = np.repeat(np.arange(30), images)
        positives = [attacked[image] for image in again if counted[image]]
        negatives = [real[image] for image in again]
        threshold = false_alarm_threshold(np.repeat(calibration, calibrating), 0.1)
        won = [(a > b) + 0.5 * (a == b) for a in positives for b in negatives]
        areas.append(sum(won) / len(won))
        shares.append(sum(a > threshold for a in positives) / len(positives))
    assert estimates.auroc[1:] == pytest.approx(tuple(np.percentile(areas, (2.5, 97.5))))
    assert estimates.tpr[1:] == pytest.approx(tuple(np.percentile(shares, (2.5, 97.5))))
    assert estimates.auroc.value == auroc(real, attacked[counted])
    assert estimates.tpr.value == (attacked[counted] > false_alarm_threshold(calibration, 0.1)).mean()


def test_without_an_attacked_image_there_is_nothing_to_measure():
    estimates = detection(scores(30), scores(30), np.zeros(30, bool), scores(25), 0.05)
    assert all(math.isnan(value) for estimate in estimates for value in estimate)


def test_an_interval_holds_the_truth():
    """Of two normals a distance of 1 apart the AUROC is Φ(1/√2) = 0.760; 95 % of the intervals should hold it."""
    hits = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        estimates = detection(
            generator.normal(size=80),
            generator.normal(size=80) + 1,
            np.ones(80, bool),
            generator.normal(size=50),
            0.05,
            replicates=200,
            seed=seed,
        )
        hits += estimates.auroc.low <= 0.7602 <= estimates.auroc.high
    assert hits >= 51  # of 60: fewer have a probability below 1 in 200 at 95 %
