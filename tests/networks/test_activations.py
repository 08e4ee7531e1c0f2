"""Hard activations have surrogates, smooth ones need none, and what softplus does not change is said."""

import logging

import pytest
import timm
import torch
from family_networks import network_of
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.networks import Network
from lightning_advinterp.networks.activations import activation_calls, warn_without_surrogate
from lightning_advinterp.networks.smoothing import smoothed_relu

X = torch.linspace(-5, 5, 41, dtype=torch.float64)


def relu6(x, beta):
    """The surrogate of ReLU6, by its formula."""
    return (torch.log1p(torch.exp(beta * x)) - torch.log1p(torch.exp(beta * (x - 6)))) / beta


@pytest.mark.parametrize(
    ("call", "formula"),
    [
        (nn.Hardswish(), lambda x: x * relu6(x + 3, 2.0) / 6),
        (nn.Hardswish(inplace=True), lambda x: x * relu6(x + 3, 2.0) / 6),
        (lambda x: F.hardswish(x), lambda x: x * relu6(x + 3, 2.0) / 6),
        (nn.Hardsigmoid(), lambda x: relu6(x + 3, 2.0) / 6),
        (lambda x: F.hardsigmoid(input=x), lambda x: relu6(x + 3, 2.0) / 6),
    ],
)
def test_hard_activations_take_the_surrogate_of_their_relu6(call, formula):
    x = X.clone().requires_grad_()
    with smoothed_relu(2.0):
        y = call(x * 1)
    torch.testing.assert_close(y, formula(X))
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    assert bend.abs().max() > 0.01
    with smoothed_relu(1e6):
        torch.testing.assert_close(call(X.clone()), call(X.clone()), rtol=0, atol=0)
        near = call(X.clone())
    torch.testing.assert_close(near, call(X.clone()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("call", [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Tanh()])
def test_smooth_activations_stay(call):
    with smoothed_relu(0.5):
        inside = call(X)
    assert torch.equal(inside, call(X))


NETWORKS = {
    "mobilenet": lambda: timm.create_model("mobilenetv3_small_050", num_classes=5),
    "efficientnet": lambda: timm.create_model("efficientnet_b0", num_classes=5),
    "lite": lambda: timm.create_model("efficientnet_lite0", num_classes=5),
}


def network(name):
    if name not in NETWORKS:
        return network_of(name)
    torch.manual_seed(0)
    return Network(NETWORKS[name]().eval(), name=name, num_classes=5, input_size=64)


@pytest.mark.parametrize(
    ("name", "calls", "smoothed"),
    [
        ("vit", {"gelu": 2}, False),
        ("swin", {"gelu": 4}, False),
        ("convnext", {"gelu": 4}, False),
        ("efficientnet", {"silu": 49, "sigmoid": 16}, False),  # with the gates of squeeze and excitation
        ("mobilenet", {"hardswish": 19, "relu": 14, "hardsigmoid": 9}, True),
        ("lite", {"hardtanh": 33}, True),
    ],
)
def test_what_softplus_does_is_said_and_true(name, calls, smoothed, caplog):
    net = network(name)
    assert activation_calls(net) == calls
    with caplog.at_level(logging.WARNING):
        warn_without_surrogate(net, "fragility")
    x = torch.rand(1, 3, net.input_size, net.input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = net(x)
        with smoothed_relu(1.0):
            smooth = net(x)
    assert torch.equal(plain, smooth) is not smoothed
    if smoothed:
        assert not caplog.messages
    else:
        names = " and ".join(sorted(calls)) + (" has" if len(calls) == 1 else " have")
        assert caplog.messages == [
            f"fragility: softplus changes nothing in {name}, which calls no relu: {names} second "
            "derivatives. Every beta gives the same numbers."
        ]


def test_a_kink_without_a_surrogate_is_said(caplog):
    body = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Softshrink(), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    warn_without_surrogate(Network(body, name="shrunk", num_classes=2, input_size=8), "curvature")
    assert caplog.messages == ["curvature: no softplus stands for softshrink, whose second derivative is 0."]


NO_ACTIVATIONS = {"MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}
ARGUMENTS = {"Threshold": (0.1, 0.0)}


@pytest.mark.parametrize("name", sorted(set(nn.modules.activation.__all__) - NO_ACTIVATIONS))
def test_what_is_said_of_every_activation_of_torch_is_true(name, caplog):
    """Changed by the block, or with a second derivative of its own, or said to have neither."""
    module = getattr(nn, name)(*ARGUMENTS.get(name, ())).eval()
    body = nn.Sequential(nn.Conv2d(3, 2, 3), module, nn.Flatten(), nn.LazyLinear(2))
    body(torch.rand(1, 3, 8, 8))
    warn_without_surrogate(Network(body.eval(), name="body", num_classes=2, input_size=8), "curvature")
    x = (0.3 * X).clamp(-0.9, 0.9)[:40, None].T.clone().requires_grad_()  # an even number, for GLU
    module = module.double()
    plain = module(x)
    with smoothed_relu(2.0):
        changed = not torch.equal(module(x), plain)
    bends = False
    if not changed:  # Hardsigmoid's gradient has no derivative
        (slope,) = torch.autograd.grad(plain.sum(), x, create_graph=True)
        bends = slope.requires_grad and bool(torch.autograd.grad(slope.sum(), x)[0].any())
    assert any("softplus changes nothing" in message for message in caplog.messages) is not changed
    assert any("second derivatives." in message for message in caplog.messages) is bends
    assert any("whose second derivative is 0" in message for message in caplog.messages) is not (bends or changed)
