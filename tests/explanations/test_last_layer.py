"""A last layer trained for few classes, and the input that it takes."""

import pytest
import torch
from helpers import small_batch, small_network

from lightning_advinterp.explanations.last_layer import fit_last_layer, penultimate, pooled
from lightning_advinterp.networks import create_network


@pytest.mark.parametrize("damping", [0.01, 0.3])
def test_the_gradient_vanishes(damping):
    """The objective is strictly convex: where its gradient is zero is the minimum."""
    generator = torch.Generator().manual_seed(0)
    features = 3 * torch.rand(30, 6, generator=generator, dtype=torch.float64)
    labels = torch.arange(30) % 3
    weight, bias = fit_last_layer(features.float(), labels, 3, damping=damping)
    features = features.float().double()
    p = torch.exp(features @ weight.T + bias)
    residual = p / p.sum(1, keepdim=True)
    residual[torch.arange(30), labels] -= 1
    torch.testing.assert_close(residual.T @ features / 30, -damping * weight, atol=2e-7, rtol=0)
    torch.testing.assert_close(residual.mean(0), -damping * bias, atol=2e-7, rtol=0)
    assert weight.abs().max() > 0.1


def test_its_input_makes_the_logits():
    network, x = small_network(), small_batch(n=3).image
    features = penultimate(network, x)
    torch.testing.assert_close(network.backbone.fc(features), network(x))


def test_maps_are_averaged():
    network = create_network("squeezenet1_0", num_classes=4).eval()
    x = small_batch(n=2, size=40).image
    pooled_inputs = []
    network.backbone.classifier[1].register_forward_hook(lambda module, inputs, out: pooled_inputs.append(inputs[0]))
    features = penultimate(network, x)
    torch.testing.assert_close(features, pooled_inputs[0].sum((2, 3)) / pooled_inputs[0].shape[2] ** 2)
    with pytest.raises(ValueError, match="vectors"):
        pooled(torch.zeros(2, 3, 4))
