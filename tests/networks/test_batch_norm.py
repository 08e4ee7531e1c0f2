"""Batch normalisation of elementary operations: torch's own in values and slopes, and differentiable once more."""

import pytest
import torch
from torch import nn

from lightning_advinterp.networks.batch_norm import composed_batch_norm


def layer_and_input(kind=nn.BatchNorm2d, shape=(4, 3, 5, 5), **settings):
    generator = torch.Generator().manual_seed(0)
    layer = kind(3, **settings).double()
    for value in layer.parameters():
        nn.init.uniform_(value, 0.5, 2, generator=generator)
    layer.track_running_stats = False  # as in an attack: the batch's statistics, nothing updated
    return layer, torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()


def derivatives(layer, x, order):
    """The value, and the slope of the slope … by everything, ``order`` times."""
    value = (layer(x) ** 3).sum()
    values = [value]
    for _ in range(order):
        slopes = torch.autograd.grad(values[-1], [x, *layer.parameters()], create_graph=True)
        values.append(
            sum((slope.square() * (1 + torch.arange(slope.numel()).view_as(slope))).sum() for slope in slopes)
        )
    return values


@pytest.mark.parametrize(
    ("kind", "shape", "settings"),
    [
        (nn.BatchNorm2d, (4, 3, 5, 5), {}),
        (nn.BatchNorm2d, (4, 3, 5, 5), {"affine": False}),
        (nn.BatchNorm1d, (6, 3), {"eps": 0.1}),
        (nn.BatchNorm3d, (2, 3, 2, 3, 4), {}),
    ],
)
def test_values_and_two_slopes_are_torch_s(kind, shape, settings):
    layer, x = layer_and_input(kind, shape, **settings)
    with composed_batch_norm():
        ours = derivatives(layer, x, 2)
    torch.testing.assert_close(ours, derivatives(layer, x, 2), rtol=1e-9, atol=0)


def test_the_third_slope_exists_and_is_right():
    layer, x = layer_and_input(shape=(2, 3, 2, 2))
    with pytest.raises(RuntimeError, match="does not support 3rd"):
        derivatives(layer, x, 3)
    with composed_batch_norm():
        assert torch.autograd.gradgradcheck(
            lambda z: torch.autograd.grad((layer(z) ** 3).sum(), z, create_graph=True), x
        )


def test_running_statistics_are_left_to_torch():
    layer, x = layer_and_input()
    layer.track_running_stats = True
    expected, twin = nn.BatchNorm2d(3).double(), layer
    expected.load_state_dict(twin.state_dict())
    for mode in (True, False):
        with composed_batch_norm():
            ours = layer.train(mode)(x)
        assert torch.equal(ours, expected.train(mode)(x))
    assert int(layer.num_batches_tracked) == 1
    assert torch.equal(layer.running_var, expected.running_var)


def test_half_precision_is_computed_in_float32():
    layer, x = layer_and_input()
    layer, x = layer.to(torch.bfloat16), x.detach().to(torch.bfloat16)
    with composed_batch_norm():
        ours = layer(x)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours, layer(x), rtol=1e-2, atol=1e-2)
