"""Attention rollout against loops over attention probabilities that hooks caught, in float64."""

import pytest
import timm
import torch
from family_networks import SMALL, network_of
from torch.nn import functional as F

from lightning_advinterp.explanations import AttentionRollout, ExplanationConfig
from lightning_advinterp.networks import Network


def images(network, count=2):
    size, generator = network.input_size, torch.Generator().manual_seed(0)
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=generator)


def caught_attention(network, x):
    """Every layer's probabilities ``[B, H, T, T]``, by hooks on modules that compute them openly."""
    caught, entered = [], []
    for module in network.backbone.modules():
        if isinstance(module, timm.layers.Attention):
            module.fused_attn = False
            module.attn_drop.register_forward_hook(lambda module, inputs, output: caught.append(inputs[0].detach()))
        if isinstance(module, torch.nn.MultiheadAttention):
            module.register_forward_pre_hook(lambda module, inputs: entered.append((module, inputs)))
    with torch.no_grad():
        network(x)
        for module, inputs in list(entered):
            caught.append(module(*inputs, need_weights=True, average_attn_weights=False)[1])
    return caught


def literal_rollout(attentions, residual, reduce):
    """Abnar and Zuidema's recursion for each image, entry by entry."""
    images, _, tokens, _ = attentions[0].shape
    result = torch.zeros(images, tokens, tokens, dtype=torch.float64)
    for image in range(images):
        rolled = torch.eye(tokens, dtype=torch.float64)
        for attention in attentions:
            mixed = torch.zeros(tokens, tokens, dtype=torch.float64)
            for i in range(tokens):
                for j in range(tokens):
                    mixed[i, j] = (1 - residual) * reduce([float(head[i, j]) for head in attention[image]])
                mixed[i, i] += residual
                mixed[i] /= mixed[i].sum()
            rolled = mixed @ rolled
        result[image] = rolled
    return result


@pytest.mark.parametrize(("heads", "residual"), [("mean", 0.5), ("max", 0.5), ("min", 0.2), ("mean", 0.0)])
@pytest.mark.parametrize(
    ("name", "readers", "apart"), [("vit", [0], 1), ("distilled", [0, 1], 2), ("torchvision's vit", [0], 1)]
)
def test_rollout_equals_the_loop(name, readers, apart, heads, residual):
    network = network_of(name).double()
    x = images(network)
    maps = AttentionRollout(heads=heads, residual=residual).explain(network, x, torch.tensor([0, 1])).sum(1)
    reduce = {"mean": lambda values: sum(values) / len(values), "max": max, "min": min}[heads]
    rolled = literal_rollout(caught_attention(network, x), residual, reduce)
    row = rolled[:, readers].mean(1)[:, apart:].reshape(2, 1, 4, 4)
    expected = F.interpolate(row, x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(maps, expected, rtol=1e-10, atol=1e-14)


def test_of_pooled_patches_the_mean_row_counts():
    torch.manual_seed(0)
    body = timm.create_model("vit_tiny_patch16_224", num_classes=5, global_pool="avg", **SMALL).double().eval()
    network = Network(body, name="pooled", num_classes=5, input_size=32)
    x = images(network)
    maps = AttentionRollout().explain(network, x, torch.tensor([0, 1])).sum(1)
    rolled = literal_rollout(caught_attention(network, x), 0.5, lambda values: sum(values) / len(values))
    row = rolled[:, 1:].mean(1)[:, 1:].reshape(2, 1, 4, 4)
    expected = F.interpolate(row, x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(maps, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["vit", "torchvision's vit"])
def test_the_derivative_equals_differences(name):
    network = network_of(name).double()
    x, y = images(network, 1), torch.tensor([0])
    along = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3))
    method = AttentionRollout()

    def value(t):
        return method.map(network, x + t * along, y, create_graph=True).square().sum()

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(t), t)
    difference = (value(t.detach() + 1e-4) - value(t.detach() - 1e-4)) / 2e-4
    assert slope != 0
    torch.testing.assert_close(slope, difference.detach(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swin", r"that of layer layers\.0\.blocks\.0\.attn\.softmax is \[16, 16, 16\], as of windows"),
        ("torchvision's swin", r"that of layer features\.1\.0\.attn is \[16, 16, 16\], as of windows"),
        ("convnext", "ConvNeXt takes no softmax over tokens; take gradcam"),
        ("resnet", "ResNet has no blocks with attention; take gradcam"),
    ],
)
def test_other_networks_are_refused_by_layer(name, message):
    network = network_of(name)
    before = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()]
    with pytest.raises(ValueError, match=message):
        AttentionRollout().explain(network, images(network, 1).float(), torch.tensor([0]))
    assert before == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()]


def test_by_name_with_settings():
    method = ExplanationConfig("attention_rollout", heads="max", residual=0.25, interpolation="bicubic").create()
    assert (method.name, method.heads, method.residual) == ("attention_rollout", "max", 0.25)
    for settings, message in (({"heads": "sum"}, "heads must be"), ({"residual": 1.0}, "residual must be")):
        with pytest.raises(ValueError, match=message):
            AttentionRollout(**settings)
    with pytest.raises(ValueError, match="heads is no setting of gradcam"):
        ExplanationConfig("gradcam", heads="max")
