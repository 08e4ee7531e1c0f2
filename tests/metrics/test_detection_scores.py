"""Scores against scipy, literal loops and ablation, and their gradients."""

import math

import numpy as np
import pytest
import torch
from helpers import small_network
from scipy.ndimage import median_filter as scipy_median
from torch.autograd import gradcheck

from lightning_advinterp.metrics import detection_scores as scores
from lightning_advinterp.metrics.support import strongest_weights


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOGITS, LABEL = random(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])


def test_scores_of_logits_equal_their_definitions():
    for row, label, p, lead, e in zip(
        LOGITS.tolist(),
        LABEL.tolist(),
        scores.max_softmax(LOGITS, LABEL).tolist(),
        scores.margin(LOGITS, LABEL).tolist(),
        scores.energy(LOGITS).tolist(),
        strict=True,
    ):
        total = sum(math.exp(z) for z in row)
        assert p == pytest.approx(math.exp(row[label]) / total)
        assert lead == pytest.approx(row[label] - max(z for c, z in enumerate(row) if c != label))
        assert e == pytest.approx(-math.log(total))


def test_a_missing_score_is_the_most_suspicious():
    values = torch.tensor([0.2, torch.nan])
    assert scores.suspicion("max_softmax", values).tolist() == pytest.approx([-0.2, math.inf])
    assert scores.suspicion("energy", values).tolist() == pytest.approx([0.2, math.inf])


def test_prediction_differences_equal_ablation():
    network = small_network().double()
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        logits, features = network.forward_features(x, ("penultimate", "phi"))
        label, weight = logits.argmax(1), network.backbone.fc.weight
        differences = scores.prediction_differences(features["penultimate"], weight, label)
        for unit in range(8):
            maps = features["phi"].clone()
            maps[:, unit] = 0
            without = network.backbone.fc(maps.mean((2, 3)))
            expected = (logits - without).gather(1, label[:, None]).squeeze(1)
            assert torch.allclose(differences[:, unit], expected, atol=1e-12)


def test_concentration_is_the_share_of_the_strongest():
    differences = torch.tensor([[3.0, -5.0, 1.0, 4.0], [1.0, 0, 0, 0], [-1.0, 0, 0, -2.0]])
    shares = scores.concentration(differences, 2)
    assert shares[:2].tolist() == pytest.approx([7 / 8, 1.0])
    assert shares[2].isnan()


@pytest.mark.parametrize("size", [2, 3])
def test_median_filter_equals_scipy(size):
    images = random(2, 3, 9, 7)
    expected = scipy_median(images.numpy(), size=(1, 1, size, size), mode="reflect")
    assert np.array_equal(scores.median_filter(images, size).numpy(), expected)


def test_bits_are_reduced_and_the_gradient_passes():
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    reduced = scores.reduce_bits(images, 1)
    assert torch.allclose(reduced, (images > 0.5).double())
    (gradient,) = torch.autograd.grad(reduced.sum(), images)
    assert torch.equal(gradient, torch.ones_like(images))
    assert torch.equal(scores.reduce_bits(images.detach(), 1), (images > 0.5).double())


def test_squeezing_is_the_largest_change_of_the_probabilities():
    squeezed_logits = random(6, 5, seed=1), random(6, 5, seed=2)
    largest_changes = scores.squeezing(LOGITS, *squeezed_logits)
    for row in range(6):
        changes = [sum(abs(LOGITS[row].softmax(0) - squeezed[row].softmax(0))).item() for squeezed in squeezed_logits]
        assert float(largest_changes[row]) == pytest.approx(max(changes))


def test_soft_weights_become_those_of_the_strongest_units():
    differences = random(8, 40)
    differences[0] = 0.0
    differences[1, 3:] = -1.0  # fewer units than m speak for the class
    differences[2, 5] = torch.nan
    hard = strongest_weights(differences, 10)
    soft = scores.soft_strongest_weights(differences, 10, 1e-7)
    assert torch.allclose(soft, hard, atol=1e-9, equal_nan=True)
    assert soft[0].isnan().all()
    warm = scores.soft_strongest_weights(differences, 10, 0.1)[1:]
    assert torch.allclose(warm.sum(1), torch.ones(7, dtype=torch.float64))
    assert (warm - hard[1:]).abs().max() < 0.1


def test_a_gradient_reaches_units_that_are_not_among_the_strongest():
    differences = random(4, 40).requires_grad_()
    total = (scores.soft_strongest_weights(differences, 5, 0.1) * random(4, 40, seed=3)).sum()
    (soft,) = torch.autograd.grad(total, differences)
    (hard,) = torch.autograd.grad((strongest_weights(differences, 5) * random(4, 40, seed=3)).sum(), differences)
    outside = (hard == 0) & (differences > 0)
    assert (soft[outside] != 0).sum() > 20
    assert soft.isfinite().all()


def test_gradients_are_those_of_the_values():
    logits = LOGITS.clone().requires_grad_()
    features, weight = random(6, 12).abs().requires_grad_(), random(5, 12, seed=5)
    assert gradcheck(lambda z: scores.max_softmax(z, LABEL), logits)
    assert gradcheck(lambda z: scores.margin(z, LABEL), logits)
    assert gradcheck(scores.energy, logits)
    assert gradcheck(lambda z: scores.squeezing(z, z * 0.5, z.roll(1, 1)), logits)
    assert gradcheck(lambda a: scores.concentration(scores.prediction_differences(a, weight, LABEL), 3), features)
    assert gradcheck(lambda x: scores.median_filter(x, 2), random(1, 2, 4, 4).requires_grad_())

    def soft(a):
        """The threshold is a constant to the gradient, so it is held here too."""
        return scores.soft_strongest_weights(scores.prediction_differences(a, weight, LABEL), 12, 0.1)

    assert gradcheck(soft, features)
