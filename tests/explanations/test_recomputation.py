"""Graphs that are computed again instead of kept: the same derivatives, from a bounded memory."""

import weakref

import pytest
import torch
from explanation_helpers import Branches, batch, wrap
from helpers import assert_untouched, fingerprint, small_network
from torch import nn

from lightning_advinterp.explanations import IntegratedGradients, SmoothGrad
from lightning_advinterp.explanations.recomputation import recomputed_gradient
from lightning_advinterp.networks.smoothing import smoothed_relu

METHODS = {
    "integrated gradients": lambda n, **settings: IntegratedGradients(steps=n, chunk=2, **settings),
    "smoothgrad": lambda n, **settings: SmoothGrad(samples=n, chunk=2, **settings),
    "smoothgrad of pixels": lambda n, **settings: SmoothGrad(samples=n, chunk=2, space="pixel", **settings),
}


@pytest.mark.parametrize("softplus", [None, 3.0])
@pytest.mark.parametrize("name", METHODS)
def test_maps_and_derivatives_are_the_same(name, softplus):
    """Also where the derivative is asked for in training mode, outside of the block that smooths relu."""
    results = []
    for recompute in (False, True):
        network = wrap(Branches()).train()
        (x, y), before = batch(3), fingerprint(network)
        x.requires_grad_()
        with smoothed_relu(softplus):
            maps = METHODS[name](4, recompute=recompute).map(network, x, y, create_graph=True)
        variables = [x, *network.parameters()]
        weights = torch.linspace(0, 1, maps.numel(), dtype=maps.dtype).view_as(maps)
        slopes = torch.autograd.grad((maps * weights).sum(), variables, allow_unused=True, materialize_grads=True)
        assert_untouched(network, before)
        results.append([maps.detach(), *slopes])
    assert max(value.abs().max() for value in results[0][1:]) > 1e-6
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_without_a_graph_nothing_is_computed_twice(name):
    network, (x, y) = wrap(Branches()), batch(3)
    forwards = []
    network.backbone.register_forward_hook(lambda *_: forwards.append(1))
    maps = [METHODS[name](4, recompute=recompute).map(network, x, y) for recompute in (False, True)]
    assert torch.equal(*maps)
    assert len(forwards) == 2 * 6  # 12 images in pairs


@pytest.mark.parametrize("name", METHODS)
def test_memory_does_not_grow_with_the_passes(name):
    def kept(n, recompute):
        network, (x, y) = wrap(Branches()), batch(2)
        boxes = weakref.WeakSet()

        class Box:
            def __init__(self, value):
                self.value = value
                boxes.add(self)

        with torch.autograd.graph.saved_tensors_hooks(Box, lambda box: box.value):
            maps = METHODS[name](n, recompute=recompute).explain(network, x.requires_grad_(), y, create_graph=True)
        assert maps.requires_grad
        return sum({box.value.data_ptr(): box.value.numel() for box in boxes}.values())

    image = 3 * 8 * 8
    assert kept(8, True) - kept(4, True) <= 4 * 2 * (2 * image + 2)  # the point, its slope, and whose they are
    assert kept(8, False) - kept(4, False) > 4 * 2 * 10 * image


def test_autocast_is_that_of_the_first_time():
    network = small_network()
    x = torch.rand(2, 3, 8, 8)
    types, derivatives = [], []
    network.backbone.conv1.register_forward_hook(lambda *result: types.append(result[-1].dtype))

    def score(z):
        return network(z).float().square().sum(1)

    for recompute in (False, True):
        z = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            gradient = (
                recomputed_gradient(score, z, list(network.parameters()))
                if recompute
                else torch.autograd.grad(score(z).sum(), z, create_graph=True)[0]
            )
        derivatives.append(torch.autograd.grad(gradient.square().sum(), [z, *network.parameters()], allow_unused=True))
    assert set(types) == {torch.bfloat16}
    assert len(types) == 3
    for ours, theirs in zip(*derivatives, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or (ours - theirs).norm() <= 2e-2 * theirs.norm()


def test_a_linear_score_has_no_second_derivative_and_a_third_is_refused():
    x = torch.rand(2, 3, 2, 2, requires_grad=True)
    total = recomputed_gradient(lambda z: z.sum((1, 2, 3)), x, []).sum() + 0 * x.sum()
    assert torch.autograd.grad(total, x)[0].eq(0).all()
    gradient = recomputed_gradient(lambda z: (z**4).sum((1, 2, 3)), x, [nn.Parameter(torch.ones(1))])
    (slope,) = torch.autograd.grad(gradient.sum(), x, retain_graph=True)
    torch.testing.assert_close(slope, 12 * x**2)
    with pytest.raises(RuntimeError, match="has one derivative: leave create_graph or recompute out"):
        torch.autograd.grad(gradient.sum(), x, create_graph=True)
