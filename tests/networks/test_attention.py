"""Attention has second derivatives inside the block, and torch's process-wide choice of kernels comes back."""

import pytest
import torch
from family_networks import network_of
from timm.layers.attention import Attention
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.explanations import Gradient, IntegratedGradients
from lightning_advinterp.metrics.hessian import Hessian
from lightning_advinterp.networks.attention import twice_differentiable_attention


class SelfAttention(nn.Module):
    """torch's module as torchvision's ViT calls it."""

    def __init__(self, need_weights):
        super().__init__()
        self.need_weights, self.attention = need_weights, nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


def timm_attention(fused):
    attention = Attention(6, num_heads=2, qkv_bias=True)
    attention.fused_attn = fused
    return attention


MODULES = {
    "timm, fused": lambda: timm_attention(True),
    "timm, composed": lambda: timm_attention(False),
    "torch": lambda: SelfAttention(False),
    "torch, with weights": lambda: SelfAttention(True),
}


def choices():
    cuda = torch.backends.cuda
    kernels = (cuda.flash_sdp_enabled, cuda.mem_efficient_sdp_enabled, cuda.math_sdp_enabled, cuda.cudnn_sdp_enabled)
    return (*(enabled() for enabled in kernels), torch.backends.mha.get_fastpath_enabled())


def tokens():
    return torch.randn(2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.mark.parametrize("name", MODULES)
def test_derivatives_equal_differences(name):
    torch.manual_seed(0)
    attention = MODULES[name]().double().eval()
    with twice_differentiable_attention():
        assert torch.autograd.gradcheck(attention, tokens(), fast_mode=True)
        assert torch.autograd.gradgradcheck(attention, tokens(), fast_mode=True)
        inside = attention(tokens())
    torch.testing.assert_close(inside, attention(tokens()), rtol=1e-12, atol=1e-14)


def test_fused_attention_has_no_second_derivative_outside():
    """What the block is for; once torch has one, it may go."""
    (gradient,) = torch.autograd.grad(timm_attention(True).double()(x := tokens())[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="is not implemented"):
        torch.autograd.grad(gradient.square().sum(), x)


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("fast_path", [True, False])
def test_the_choice_comes_back(flash, fast_path):
    before = choices()
    try:
        torch.backends.cuda.enable_flash_sdp(flash)
        torch.backends.mha.set_fastpath_enabled(fast_path)
        outside = choices()
        with twice_differentiable_attention():
            with twice_differentiable_attention():
                assert choices() == (False, False, True, False, False)
            assert choices() == (False, False, True, False, False)
        assert choices() == outside
        with pytest.raises(RuntimeError, match="midway"), twice_differentiable_attention():
            raise RuntimeError("midway")
        assert choices() == outside
        with twice_differentiable_attention(needed=False):
            assert choices() == outside
    finally:
        torch.backends.cuda.enable_flash_sdp(before[0])
        torch.backends.mha.set_fastpath_enabled(before[-1])
    assert choices() == before


@pytest.mark.parametrize("name", ["vit", "torchvision's vit", "swin"])
def test_maps_and_curvature_of_transformers(name):
    """Derivatives of maps equal differences along a line; the kernels' choice is as before, also after an error."""
    network, before = network_of(name).double(), choices()
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(1, 3, network.input_size, network.input_size, dtype=torch.float64, generator=generator)
    along = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    y = torch.tensor([1])
    for method in (Gradient(), IntegratedGradients(steps=2), IntegratedGradients(steps=2, recompute=True)):

        def value(t, method=method):
            return (method.explain(network, x + t * along, y, create_graph=True) * along).sum()

        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(value(t), t)
        difference = (value(t.detach() + 1e-4) - value(t.detach() - 1e-4)) / 2e-4
        assert slope.abs() > 1e-9
        torch.testing.assert_close(slope, difference.detach(), rtol=1e-4, atol=1e-10)
    hessian = Hessian(lambda images: network(images)[:, 1], x)
    forward, backward = (Hessian(lambda images: network(images)[:, 1], x + t * along) for t in (1e-5, -1e-5))
    expected = (forward.gradient - backward.gradient) / 2e-5
    torch.testing.assert_close(hessian(along.flatten(1)), expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())
    with pytest.raises(ValueError, match="target"):
        Gradient().explain(network, x, torch.tensor([99]), create_graph=True)
    assert choices() == before


def test_values_without_a_graph_come_from_the_usual_kernel(monkeypatch):
    called = []
    fused = F.scaled_dot_product_attention

    def noted(*args, **kwargs):
        called.append(choices())
        return fused(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    network, before = network_of("vit"), choices()
    x, y = torch.rand(1, 3, 32, 32), torch.tensor([0])
    Gradient().explain(network, x, y)
    assert called == [before] * 2
    Gradient().explain(network, x, y, create_graph=True)
    assert called[2:] == [(False, False, True, False, False)] * 2
