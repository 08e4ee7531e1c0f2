"""Gradient, SmoothGrad, integrated gradients and guided backpropagation, where a library has no word on it."""

import pytest
import torch
from explanation_helpers import Branches, batch, plain, wrap
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.explanations import Gradient, GuidedBackprop, IntegratedGradients, SmoothGrad
from lightning_advinterp.networks.smoothing import smoothed_relu


def test_the_softmax_gradient_is_the_probability_s():
    network, (x, y) = wrap(plain()), batch()
    x.requires_grad_()
    p = network(x).softmax(1).gather(1, y[:, None]).sum()
    expected = torch.autograd.grad(p, x)[0]
    torch.testing.assert_close(Gradient(output="softmax", space="pixel").explain(network, x, y), expected)


def test_integrated_gradients_are_complete_to_first_order():
    network, (x, y) = wrap(Branches()), batch()
    for baseline, level in (("white", 1.0), (0.25, 0.25)):
        image = torch.full_like(x, level)
        gap = (network(x).softmax(1) - network(image).softmax(1)).gather(1, y[:, None])[:, 0]
        errors = []
        for steps in (50, 200):
            total = IntegratedGradients(steps=steps, baseline=baseline).explain(network, x, y).sum((1, 2, 3))
            errors.append((total - gap).abs().max())
        assert errors[0] < 0.1 * gap.abs().max()
        assert errors[1] < errors[0] / 2.5  # O(1/n) would be a quarter


def test_integrated_gradients_do_not_depend_on_units_or_chunks():
    network, (x, y) = wrap(plain()), batch(3)
    unseeded = IntegratedGradients(steps=7, baseline=torch.rand(3, 8, 8)).explain(network, x, y)
    bare = nn.Sequential(Standard(network), network.backbone)
    torch.manual_seed(5)
    image = torch.rand(3, 8, 8)
    a = IntegratedGradients(steps=7, baseline=image).explain(network, x, y)
    b = IntegratedGradients(steps=7, baseline=image, chunk=2).explain(bare, x, y)
    torch.testing.assert_close(a, b)
    assert not torch.allclose(a, unseeded)


class Standard(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = [network]

    def forward(self, x):
        return self.network[0].normalize(x)


def test_memory_does_not_grow_with_the_steps():
    batch_sizes = []

    class Watch(nn.Module):
        def forward(self, x):
            batch_sizes.append(len(x))
            return torch.stack([x.sum((1, 2, 3)), x.mean((1, 2, 3))], 1)

    x, y = batch(3)[0], torch.tensor([0, 1, 0])
    IntegratedGradients(steps=50, chunk=8).explain(Watch(), x, y)
    SmoothGrad(samples=50, chunk=8).explain(Watch(), x, y)
    assert max(batch_sizes) == 8
    assert sum(batch_sizes) == 300


def test_smoothgrad_is_the_mean_over_draws_of_the_key():
    network, (x, y) = wrap(plain()), batch(3)
    keys = sample_keys(torch.arange(3), seed=1)
    a = SmoothGrad(samples=6, sigma=0.1, chunk=4).explain(network, x, y, keys=keys)
    torch.testing.assert_close(a, SmoothGrad(samples=6, sigma=0.1).explain(network, x, y, keys=keys))
    assert not torch.allclose(a, SmoothGrad(samples=6, sigma=0.1).explain(network, x, y, keys=keys + 1))
    assert not torch.allclose(a, Gradient().explain(network, x, y))
    torch.testing.assert_close(SmoothGrad(samples=2, sigma=0).explain(network, x, y), Gradient().explain(network, x, y))


def test_smoothgrad_s_noise_has_the_stated_size_in_pixels():
    """The gradient of a quadratic is linear: its mean over noise spreads as σ/√n, in pixels divided by the std."""

    class Quadratic(nn.Module):
        def forward(self, z):
            return torch.stack([z.square().sum((1, 2, 3)) / 2, z.sum((1, 2, 3))], 1)

    network = wrap(Quadratic(), size=32)
    x, y = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64), torch.tensor([0])
    noise = SmoothGrad(samples=4, sigma=0.2).explain(network, x, y) - network.normalize(x)
    torch.testing.assert_close(noise.std((0, 2, 3)), 0.1 / torch.tensor(network.std).double(), rtol=0.1, atol=0)


class Functional(nn.Module):
    """The plain network with relu called as a function, once of each kind."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        b = self.body
        x = b[3](F.relu(b[1](b[0](x)), inplace=True))
        x = b[6](b[4](x).relu())
        return b[9](torch.relu_(b[7](x)))


def test_guided_backprop_meets_relu_wherever_it_is_called():
    network, (x, y) = wrap(plain()), batch()
    functional = wrap(Functional(network.backbone))
    expected = GuidedBackprop().explain(network, x, y)
    torch.testing.assert_close(GuidedBackprop().explain(functional, x, y), expected)
    assert not torch.allclose(expected, Gradient().explain(network, x, y))
    with smoothed_relu(3.0):
        a = GuidedBackprop().explain(network, x.requires_grad_(), y, create_graph=True)
        b = GuidedBackprop().explain(functional, x, y, create_graph=True)
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(*(torch.autograd.grad(value.square().sum(), x)[0] for value in (a, b)))


def test_guided_backprop_under_softplus_literally():
    """R ← softplus_β(R)·σ(βz), by hand through two layers."""
    torch.manual_seed(0)
    first, second = nn.Linear(12, 6).double(), nn.Linear(6, 4).double()
    body = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)
    x, y, beta = torch.rand(1, 3, 2, 2, dtype=torch.float64), torch.tensor([3]), 4.0
    z = first(x.flatten(1))[0]
    for start in ("one", "value"):
        value = second(F.softplus(z, beta))[3] if start == "value" else 1.0
        r = F.softplus(second.weight[3] * value, beta) * torch.sigmoid(beta * z)
        attribution = GuidedBackprop(start=start, softplus=beta).explain(body, x, y)
        torch.testing.assert_close(attribution.flatten(), (first.weight.T @ r).detach())


def test_guided_backprop_refuses_what_it_cannot_be_right_about():
    x, y = batch()
    gelu = wrap(nn.Sequential(nn.Conv2d(3, 4, 8), nn.GELU(), nn.Flatten()))
    with pytest.raises(ValueError, match="relu, which Sequential never calls"):
        GuidedBackprop().explain(gelu, x, y)
    both = wrap(nn.Sequential(nn.Conv2d(3, 4, 8), nn.ReLU(), nn.Sigmoid(), nn.Flatten()))
    GuidedBackprop().explain(both, x, y)
    with pytest.raises(ValueError, match="the network calls sigmoid"):
        GuidedBackprop().explain(both, x, y, create_graph=True)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [("grey", "baseline must be mean, black"), (1.5, r"grey level in \[0, 1\]"), (torch.rand(3, 4, 4), "an image of")],
)
def test_a_wrong_baseline_is_named(baseline, message):
    network, (x, y) = wrap(plain()), batch()
    with pytest.raises(ValueError, match=message):
        IntegratedGradients(baseline=baseline).explain(network, x, y)
