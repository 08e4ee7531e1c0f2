"""relu becomes softplus wherever it is called, and nothing of it stays."""

import pytest
import torch
from helpers import assert_untouched, fingerprint, small_batch, small_network
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.smoothing import active_beta, smoothed_relu

X = torch.linspace(-3, 3, 13, dtype=torch.float64)
CALLS = {
    "module": lambda x: nn.ReLU()(x),
    "module in place": lambda x: nn.ReLU(inplace=True)(x),
    "F.relu": F.relu,
    "F.relu, in place": lambda x: F.relu(x, inplace=True),
    "F.relu, by name": lambda x: F.relu(input=x),
    "torch.relu": torch.relu,
    "method": lambda x: x.relu(),
    "in place": lambda x: x.relu_(),
    "torch.relu_": torch.relu_,
    "F.relu_": F.relu_,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_of_relu(call):
    expected = torch.log1p(torch.exp(3 * X)) / 3
    x = X.clone().requires_grad_()
    with smoothed_relu(3.0):
        y = call(x * 1)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], torch.sigmoid(3 * X))
    torch.testing.assert_close(call(X.clone()), X.clamp(min=0))


def test_in_place_calls_change_their_input():
    for call in (torch.relu_, lambda x: F.relu(x, inplace=True)):
        x = X.clone()
        with smoothed_relu(3.0):
            assert call(x) is x
        assert x.min() > 0


@pytest.mark.parametrize("call", [nn.ReLU6(), F.relu6, nn.Hardtanh(0, 6), nn.ReLU6(inplace=True)])
def test_clipped_relu_is_a_difference(call):
    x = torch.linspace(-2, 8, 21, dtype=torch.float64)
    with smoothed_relu(2.0):
        smoothed = call(x.clone())
    torch.testing.assert_close(smoothed, F.softplus(x, 2.0, 50) - F.softplus(x - 6, 2.0, 50))
    torch.testing.assert_close(call(x.clone()), x.clamp(0, 6))


@pytest.mark.parametrize(
    "call",
    [
        nn.LeakyReLU(0.2),
        nn.LeakyReLU(0.2, inplace=True),
        lambda x: F.leaky_relu(x, negative_slope=0.2),
        lambda x: F.leaky_relu_(x, 0.2),
        nn.PReLU(init=0.2).double(),
        nn.PReLU(3, init=0.2).double(),
        lambda x: F.prelu(x, weight=torch.tensor([0.2], dtype=x.dtype)),
    ],
)
def test_leaky_relu_keeps_its_slope(call):
    x = X[:12].view(2, 3, 1, 2)
    with smoothed_relu(3.0):
        smoothed = call(x.clone())
    torch.testing.assert_close(smoothed, 0.2 * x + 0.8 * F.softplus(x, 3.0, 50))
    torch.testing.assert_close(call(x.clone()), torch.where(x > 0, x, 0.2 * x))


def test_large_values_do_not_overflow():
    x = torch.tensor([-1e4, 88.0, 1e4, 1e30], requires_grad=True)
    with smoothed_relu(10.0):
        y = F.relu(x)
    torch.testing.assert_close(y, x.clamp(min=0))
    assert torch.isfinite(torch.autograd.grad(y.sum(), x)[0]).all()


@pytest.mark.parametrize("name", ["inception_v3", "densenet121", "resnet18"])
def test_whole_networks_approach_relu(name):
    """Inception and DenseNet call relu as a function."""
    torch.manual_seed(0)
    network = create_network(name, num_classes=3).eval().double()
    x = torch.rand(1, 3, 75 if name == "inception_v3" else 32, 75 if name == "inception_v3" else 32).double()
    before = fingerprint(network)
    with torch.no_grad():
        sharp = network(x)
        with smoothed_relu(1e8):
            near = network(x)
        with smoothed_relu(2.0):
            smooth = network(x)
    torch.testing.assert_close(near, sharp, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(smooth, sharp, rtol=1e-2)
    assert_untouched(network, before)


def test_a_softplus_network_is_meant():
    network, x = small_network().double(), small_batch(dtype=torch.float64).image
    with smoothed_relu(2.0):
        smoothed = network(x)
    network.backbone.relu1 = network.backbone.relu2 = nn.Softplus(2.0, 50)
    torch.testing.assert_close(smoothed, network(x))


def test_second_derivatives_exist_inside_and_vanish_outside():
    network, x = small_network().double(), small_batch(2, dtype=torch.float64).image.requires_grad_()

    def curvature():
        (gradient,) = torch.autograd.grad(network(x)[:, 0].sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x, allow_unused=True, materialize_grads=True)[0].abs().max()

    assert curvature() == 0
    with smoothed_relu(3.0):
        assert curvature() > 1e-6


def test_blocks_nest_and_end():
    assert active_beta() is None
    with smoothed_relu(5.0):
        with smoothed_relu(1.0):
            assert active_beta() == 1.0
            inner = F.relu(X)
        with smoothed_relu(None):
            assert active_beta() == 5.0
        assert active_beta() == 5.0
    torch.testing.assert_close(inner, F.softplus(X, 1.0))
    with pytest.raises(KeyError), smoothed_relu(2.0):
        raise KeyError
    assert active_beta() is None
    assert torch.equal(F.relu(X), X.clamp(min=0))


@pytest.mark.parametrize("beta", [0.0, -1.0, float("inf"), float("nan")])
def test_a_wrong_beta_is_named(beta):
    with pytest.raises(ValueError, match="beta must be a number above 0"), smoothed_relu(beta):
        pass
