"""The interpretability score against NumPy's percentiles and loops, at chance where it must be."""

import math

import numpy as np
import pytest
import torch

from lightning_advinterp.metrics.interpretability import (
    PERCENTILES,
    chance,
    interpretability_score,
    interpretability_scores,
    largest,
    shifts,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("percentile", PERCENTILES)
def test_a_uniform_perturbation_is_at_chance(percentile):
    """Of equal magnitude everywhere, whatever its signs and whatever the map."""
    delta = draw(3, 3, 64, 48).sign() * 4 / 255
    score, rolled = interpretability_scores(delta, draw(3, 1, 64, 48, seed=1), [percentile])
    assert score[:, 0].tolist() == pytest.approx([chance(percentile)] * 3, abs=0.01)
    assert rolled[:, 0].tolist() == pytest.approx([chance(percentile)] * 3, abs=0.01)
    random = interpretability_scores(draw(3, 3, 64, 48, seed=2), draw(3, 3, 64, 48, seed=1), [percentile], nonzero=True)
    assert random[0][:, 0].tolist() == pytest.approx([chance(percentile)] * 3, abs=0.01)


@pytest.mark.parametrize(("channels", "nonzero"), [(1, False), (3, False), (3, True)])
def test_against_numpy_and_loops(channels, nonzero):
    delta, maps = draw(2, 3, 6, 5), draw(2, channels, 6, 5, seed=3)
    maps[0, 0, :2] = 0  # ties, and values that do not count
    score, rolled = interpretability_scores(delta, maps, PERCENTILES, nonzero=nonzero)

    def literal(image, percentile, by=(0, 0)):
        values = maps[image].numpy()
        bound = np.percentile(values[values != 0] if nonzero else values, percentile)
        mask = np.roll(values > bound, by, axis=(1, 2))
        inside = total = 0.0
        for c in range(3):
            for y in range(6):
                for x in range(5):
                    square = float(delta[image, c, y, x]) ** 2
                    total += square
                    inside += square * bool(mask[c if channels == 3 else 0, y, x])
        return math.sqrt(inside / total)

    for image in range(2):
        for place, percentile in enumerate(PERCENTILES):
            assert score[image, place].item() == pytest.approx(literal(image, percentile), abs=1e-12)
            rolled_scores = [literal(image, percentile, by) for by in shifts(6, 5)]
            assert rolled[image, place].item() == pytest.approx(sum(rolled_scores) / len(rolled_scores), abs=1e-12)
    assert len(shifts(6, 5)) == 15


def test_what_has_no_score_is_missing():
    delta, maps = draw(4, 3, 8, 8), draw(4, 1, 8, 8, seed=1)
    delta[0] = 0
    maps[1] = 0.5
    maps[2, 0, 0, 0] = torch.nan
    score, rolled = interpretability_scores(delta, maps)
    assert score.isnan().all(1).tolist() == rolled.isnan().all(1).tolist() == [True, True, True, False]
    assert not score[3].isnan().any()
    zeros, _ = interpretability_scores(delta, torch.zeros(4, 3, 8, 8), nonzero=True)
    assert zeros.isnan().all()
    lone = torch.zeros(4, 3, 8, 8)
    lone[:, 0, 0, 0] = 1.0  # the only value other than 0 exceeds no percentile of itself
    assert interpretability_scores(delta, lone, nonzero=True)[0].isnan().all()


def test_all_of_a_perturbation_within_the_map_scores_one():
    delta = torch.zeros(1, 3, 10, 10)
    delta[..., :2, :] = 0.1
    maps = torch.zeros(1, 1, 10, 10)
    maps[..., :2, :] = 1.0
    assert interpretability_score(delta, largest(maps, [50])[0]).tolist() == pytest.approx([1.0])
    assert interpretability_score(delta, largest(-maps, [10])[0]).tolist() == [0.0]
