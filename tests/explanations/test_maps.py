"""What all methods share: derivatives, an untouched network, independence of the batch, and one call shape."""

import pytest
import torch
from explanation_helpers import Branches, batch, plain, wrap
from helpers import assert_untouched, fingerprint
from torch import nn

from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.explanations import (
    CAM,
    LRP,
    DeepLift,
    Explanation,
    GradCAM,
    Gradient,
    GradientTimesInput,
    GuidedBackprop,
    IntegratedGradients,
    Occlusion,
    PatternAttribution,
    SmoothGrad,
    learn_patterns,
)
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.smoothing import smoothed_relu


def averaged():
    """A network that CAM is made for."""
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))


def cam_network():
    network = wrap(averaged())
    return Network(network.backbone, name="cam", num_classes=4, phi="1", head="4").double().eval()


METHODS = {
    "gradient": Gradient(),
    "gradient_softmax_pixel": Gradient(output="softmax", space="pixel"),
    "gradient_times_input": GradientTimesInput(),
    "smoothgrad": SmoothGrad(samples=3, chunk=2),
    "integrated_gradients": IntegratedGradients(steps=3, chunk=2),
    "guided_backprop": GuidedBackprop(),
    "guided_backprop_value": GuidedBackprop(start="value"),
    "deeplift": DeepLift(),
    "deeplift_winner": DeepLift(pool="winner", baseline="white"),
    "lrp": LRP(),
    "lrp_alpha2": LRP(alpha=2.0),
    "lrp_epsilon": LRP(rule="epsilon", first="same"),
    "lrp_gamma": LRP(rule="gamma"),
    "pattern_attribution": None,
    "cam": CAM(),
    "gradcam": GradCAM(layer="pool"),
    "occlusion": Occlusion(size=3, stride=2, chunk=5),
}


@pytest.fixture(params=METHODS)
def case(request):
    """A method with a network that it fits."""
    method = METHODS[request.param]
    if request.param == "pattern_attribution":
        network = wrap(plain())
        return PatternAttribution(learn_patterns(network, [batch(64)[0]])), network
    return method, cam_network() if request.param == "cam" else wrap(Branches())


def test_signed_maps_are_differentiable(case):
    """First derivatives of the maps against differences, which a relevance that forgot a dependence would fail."""
    method, network = case
    x, y = batch(1)
    x.requires_grad_()
    with smoothed_relu(2.0):
        assert torch.autograd.gradcheck(
            lambda image: method.explain(network, image, y, create_graph=True), x, atol=2e-5, rtol=1e-3, fast_mode=True
        )


def test_a_map_without_a_graph_has_the_same_values(case):
    method, network = case
    x, y = batch(3)
    with smoothed_relu(2.0):
        graph = method.map(network, x.requires_grad_(), y, create_graph=True)
        plain_map = method.map(network, x, y)
    assert graph.requires_grad
    assert not plain_map.requires_grad
    torch.testing.assert_close(graph.detach(), plain_map, atol=1e-12, rtol=1e-8)
    (slope,) = torch.autograd.grad(graph.square().sum(), x)
    assert slope.abs().max() > 0


def test_maps_are_shares_of_one(case):
    method, network = case
    x, y = batch(3)
    assert isinstance(method, Explanation)
    signed, maps = method.explain(network, x, y), method.map(network, x, y)
    assert signed.shape == x.shape
    assert signed.dtype == x.dtype
    assert maps.shape == (3, 8, 8)
    assert maps.min() >= 0
    torch.testing.assert_close(maps, method.reduce(signed))
    sums = maps.sum((1, 2))
    assert (((sums - 1).abs() < 1e-9) | (sums == 0)).all()
    assert not torch.equal(signed[:1], signed[1:2])


def test_images_of_a_batch_do_not_matter_to_each_other(case):
    method, network = case
    x, y = batch(5)
    keys = sample_keys(torch.arange(5), seed=4)
    together = method.explain(network, x, y, keys=keys)
    alone = torch.cat([method.explain(network, x[i : i + 1], y[i : i + 1], keys=keys[i : i + 1]) for i in (3, 0)])
    torch.testing.assert_close(together[[3, 0]], alone, atol=1e-12, rtol=1e-8)


def test_a_look_is_the_map_and_the_network_s_logits(case):
    method, network = case
    x, y = batch()
    keys = sample_keys(torch.arange(len(x)), seed=2)
    for softplus in (None, 1.5):
        method.softplus = softplus
        try:
            logits, maps = method.look(network, x, y, keys=keys)
            torch.testing.assert_close(maps, method.map(network, x, y, keys=keys))
        finally:
            method.softplus = None
        torch.testing.assert_close(logits, network(x).detach())
        assert not logits.requires_grad
        assert not maps.requires_grad


def hooks(network):
    return [
        (name, len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for name, module in network.named_modules()
    ]


def test_the_network_comes_back_as_it_was(case):
    method, network = case
    x, y = batch()
    network.train()
    next(network.parameters()).requires_grad_(False)
    parameters = list(network.parameters())
    parameters[1].grad = torch.ones_like(parameters[1])
    before, hooked = fingerprint(network), hooks(network)
    with smoothed_relu(3.0):
        method.map(network, x.requires_grad_(), y, create_graph=True)
    for ask in (method.map, method.look):
        ask(network, x, y)
        with pytest.raises(ValueError, match="target must be classes 0 to"):
            ask(network, x, y + 100)
        with pytest.raises((ValueError, RuntimeError)):
            ask(network, x[:, :2], y)
    assert_untouched(network, before)
    assert hooks(network) == hooked
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_gradients_are_switched_on_where_the_caller_switched_them_off(case):
    method, network = case
    x, y = batch()
    with torch.no_grad():
        off = method.explain(network, x, y)
    torch.testing.assert_close(off, method.explain(network, x, y))


def test_the_smoothing_of_a_method_is_its_own(case):
    method, network = case
    x, y = batch()
    with smoothed_relu(1.5):
        expected = method.explain(network, x, y)
    sharp = method.explain(network, x, y)
    method.softplus = 1.5
    try:
        torch.testing.assert_close(method.explain(network, x, y), expected)
    finally:
        method.softplus = None
    assert not torch.allclose(expected, sharp)


@pytest.mark.parametrize("create_graph", [False, True])
def test_parameters_get_gradients_only_with_a_graph(create_graph):
    """A training objective can be made of an explanation."""
    network, (x, y) = wrap(Branches()), batch()
    with smoothed_relu(2.0):
        signed = IntegratedGradients(steps=2).explain(network, x, y, create_graph=create_graph)
    assert signed.requires_grad == create_graph
    if create_graph:
        grads = torch.autograd.grad(signed.abs().sum(), list(network.parameters()), allow_unused=True)
        assert sum(grad is not None and bool(grad.abs().max() > 0) for grad in grads) > 8


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.rand(3, 8, 8), torch.tensor([1]), r"x must be float images \[B, C, H, W\]"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.tensor([1]), "x must be float images"),
        (torch.rand(2, 3, 8, 8), torch.tensor([1]), "target must hold one class, int64, for each of 2 images"),
        (torch.rand(1, 3, 8, 8), torch.tensor([1.0]), "target must hold one class, int64"),
    ],
)
def test_wrong_inputs_are_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        Gradient().explain(wrap(plain()), x, y)
