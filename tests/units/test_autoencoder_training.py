"""Sparse autoencoders in training: the gradient, unit norms, planted dictionaries, the same numbers by a seed."""

import pytest
import torch
from torch import nn

from lightning_advinterp.units.autoencoder_objective import Parameters, objective, without_radial_part
from lightning_advinterp.units.autoencoder_training import AutoencoderSettings, AutoencoderTraining


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parameters(latents=7, units=5):
    decoder = nn.functional.normalize(numbers(latents, units, seed=3))
    values = (numbers(latents, units, seed=1), numbers(latents, seed=2), decoder, numbers(units, seed=4))
    return Parameters(*(value.requires_grad_() for value in values))


def literal_gradient(rows, values, active, l1):
    """Loss and gradients by hand, latent by latent, where it is known which are active in which row."""
    encoder, encoder_bias, decoder, bias = (value.detach() for value in values)
    latents, units = encoder.shape
    gradient = [torch.zeros_like(value) for value in (encoder, encoder_bias, decoder, bias)]
    loss = 0.0
    for row, places in zip(rows, active, strict=True):
        codes = torch.zeros(latents, dtype=torch.float64)
        for latent in places:
            codes[latent] = float(encoder_bias[latent])
            for unit in range(units):
                codes[latent] += encoder[latent, unit] * (row[unit] - bias[unit])
        residual = row - bias - sum(codes[latent] * decoder[latent] for latent in range(latents))
        loss += float((residual**2).sum() + l1 * codes.sum()) / len(rows)
        gradient[3] += -2 * residual / len(rows)
        for latent in places:
            to_code = (-2 * float(residual @ decoder[latent]) + l1) / len(rows)
            gradient[0][latent] += to_code * (row - bias)
            gradient[1][latent] += to_code
            gradient[2][latent] += -2 * codes[latent] * residual / len(rows)
            gradient[3] += -to_code * encoder[latent]
    return loss, gradient


@pytest.mark.parametrize(("activation", "k", "l1"), [("relu", 0, 0.3), ("topk", 2, 0.0)])
def test_the_gradient_equals_a_literal_one(activation, k, l1):
    rows, values = numbers(6, 5, seed=9), parameters()
    before = (rows - values.bias) @ values.encoder.T + values.encoder_bias
    active = literal_active(before.detach(), k)
    result = objective(rows, values, activation, k, l1)
    result.loss.backward()
    loss, gradient = literal_gradient(rows, values, active, l1)
    assert float(result.loss.detach()) == pytest.approx(loss, abs=1e-12)
    for value, expected in zip(values, gradient, strict=True):
        torch.testing.assert_close(value.grad, expected, atol=1e-12, rtol=1e-12)


def literal_active(values, k):
    """Which latents are active in each row."""
    active = []
    for row in values.tolist():
        least = sorted(row)[-k] if k else 0.0
        active.append([latent for latent, value in enumerate(row) if value > 0 and value >= least])
    return active


def test_a_step_leaves_norms_at_one():
    training = AutoencoderTraining(numbers(100, 5).float(), AutoencoderSettings(latents=9, k=2, steps=20))
    for seed in range(20):
        training.step(numbers(30, 5, seed=seed).float())
    norms = training.basis().decoder.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(9), atol=1e-6, rtol=0)
    directions = nn.functional.normalize(numbers(4, 5))
    radial = (without_radial_part(numbers(4, 5, seed=1), directions) * directions).sum(1)
    torch.testing.assert_close(radial, torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("activation", ["topk", "relu"])
def test_the_basis_takes_rows_as_they_are(activation):
    """Centre and scale are folded into the weights: the basis of x gives s times the codes of (x - m) / s."""
    sample = 50 + 7 * numbers(200, 5).float()
    training = AutoencoderTraining(sample, AutoencoderSettings(latents=9, activation=activation, k=2, steps=10))
    for start in range(0, 200, 20):
        training.step(sample[start : start + 20])
    scaled = (sample - training.mean) / training.scale
    assert float(scaled.square().sum(1).mean()) == pytest.approx(1, abs=1e-4)
    result = objective(scaled, training.parameters, activation, 2, 0.0)
    basis = training.basis()
    torch.testing.assert_close(basis.encode(sample), training.scale * result.codes.detach(), atol=2e-3, rtol=1e-4)
    restored = basis.decode(basis.encode(sample))
    torch.testing.assert_close(restored, sample - training.scale * result.residual.detach(), atol=2e-3, rtol=1e-4)


class Planted:
    """Rows that are sums of a few directions of a dictionary, with weights of 0.5 to 1.5."""

    def __init__(self, codes, units, active):
        self.generator = torch.Generator().manual_seed(5)
        self.active = active
        self.dictionary = nn.functional.normalize(torch.randn(codes, units, generator=self.generator))

    def rows(self, count):
        order = torch.rand(count, len(self.dictionary), generator=self.generator)
        places = order.topk(self.active).indices
        weights = 0.5 + torch.rand(count, self.active, generator=self.generator)
        return torch.zeros_like(order).scatter(1, places, weights) @ self.dictionary

    def recovered(self, settings, rows=512):
        """Mean over the dictionary of the largest cosine with a direction that was learnt."""
        training = AutoencoderTraining(self.rows(4096), settings)
        for _ in range(settings.steps):
            training.step(self.rows(rows))
        return float((self.dictionary @ training.basis().decoder.T).amax(1).mean())


@pytest.mark.parametrize("activation", ["topk", "relu"])
def test_a_small_planted_dictionary_is_recovered(activation):
    settings = AutoencoderSettings(24, activation, k=2, l1=0.1, learning_rate=3e-3, steps=400, resample=50)
    assert Planted(16, 24, 2).recovered(settings, rows=128) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "steps"), [("topk", 1500), ("relu", 3000)])
def test_a_planted_dictionary_of_256_codes_is_recovered(activation, steps):
    settings = AutoencoderSettings(256, activation, k=5, l1=0.05, steps=steps)
    assert Planted(256, 128, 5).recovered(settings) >= 0.9


def test_dead_latents_are_set_anew_and_the_seed_decides():
    planted = Planted(16, 12, 2)
    sample = planted.rows(512)
    learnt = []
    for seed in (0, 0, 1):
        training = AutoencoderTraining(sample, AutoencoderSettings(64, k=2, steps=100, resample=20, seed=seed))
        for start in range(0, 512, 64):
            training.step(sample[start : start + 64])
        with torch.no_grad():
            training.parameters.encoder_bias[:32] = -100  # nothing makes these active any more
        for start in range(0, 512, 16):
            training.step(sample[start : start + 16])
        assert training.done == 40
        assert bool((training.parameters.encoder_bias[:32] > -1).all())
        learnt.append(training.basis())
    assert torch.equal(learnt[0].encoder, learnt[1].encoder)
    assert not torch.equal(learnt[0].encoder, learnt[2].encoder)
