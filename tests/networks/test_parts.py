"""Parts of layers: read, changed and run on from, against hooks and attention computed by hand."""

import pytest
import timm
import torch
from helpers import small_network
from torch import nn

from lightning_advinterp.networks import Network
from lightning_advinterp.networks.behind import Behind
from lightning_advinterp.networks.parts import tokens_apart
from lightning_advinterp.networks.taps import taps
from lightning_advinterp.networks.until import forward_until

SMALL = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 3}
AVERAGED = {"class_token": False, "global_pool": "avg"}


def vit(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    backbone = timm.create_model(name, num_classes=5, **SMALL | options).eval()
    return Network(backbone, name=name, num_classes=5, input_size=32, phi="blocks", head="head").eval()


def images(count=2):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def attention_by_hand(attention, tokens):
    """Softmax attention, head by head and image by image: what each head returns."""
    qkv = tokens @ attention.qkv.weight.T + attention.qkv.bias
    queries, keys, values = qkv.split(24, dim=2)
    heads = []
    for head in range(3):
        part = slice(8 * head, 8 * head + 8)
        scores = queries[..., part] @ keys[..., part].transpose(1, 2) / 8**0.5
        heads.append(scores.softmax(2) @ values[..., part])
    return heads


def test_heads_equal_attention_by_hand():
    network, x = vit(), images()
    names = [f"blocks.1.attn:head{number}" for number in range(3)]
    with torch.no_grad():
        _, features = network.forward_features(x, [*names, "blocks.1.norm1"])
        expected = attention_by_hand(network.backbone.blocks[1].attn, features["blocks.1.norm1"])
    for name, head in zip(names, expected, strict=True):
        torch.testing.assert_close(features[name], head, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "tokens"),
    [
        ("vit_tiny_patch16_224", {}, ("class",)),
        ("deit_tiny_distilled_patch16_224", {}, ("class", "distillation")),
        ("vit_small_patch14_reg4_dinov2", {}, ("class", "register0", "register1", "register2", "register3")),
        ("vit_tiny_patch16_224", AVERAGED | {"reg_tokens": 2}, ("register0", "register1")),
    ],
)  # fmt: skip
def test_tokens_before_the_patches_have_names(name, options, tokens):
    network, x = vit(name, **options), images()
    assert tokens_apart(network.backbone) == tokens
    caught = []
    handle = network.backbone.blocks[0].register_forward_hook(lambda module, inputs, output: caught.append(output))
    with torch.no_grad():
        network(x)
        _, features = network.forward_features(x, [f"blocks.0:{token}" for token in tokens])
    handle.remove()
    for number, token in enumerate(tokens):
        assert torch.equal(features[f"blocks.0:{token}"], caught[0][:, number])


def test_what_a_module_reads():
    network, x = small_network(), torch.rand(2, 3, 16, 16)
    _, features = network.forward_features(x, ["fc:input", "penultimate", "relu1", "bn2:input", "conv2"])
    assert torch.equal(features["fc:input"], features["penultimate"])
    assert torch.equal(features["bn2:input"], features["conv2"])


def changed(values, edit):
    copy = values.clone()
    edit(copy)
    return copy


EDITS = {
    "blocks.0:class": ("blocks.0", "output", lambda tokens: tokens[:, 0].zero_()),
    "blocks.1.attn:head2": ("blocks.1.attn.proj", "input", lambda tokens: tokens[..., 16:24].zero_()),
    "penultimate": ("head", "input", lambda features: features.zero_()),
    "blocks.1.norm2:input": ("blocks.1.norm2", "input", lambda tokens: tokens.zero_()),
}


@pytest.mark.parametrize("layer", EDITS)
def test_a_part_is_changed_as_a_hook_would(layer):
    network, x = vit(), images()
    path, side, edit = EDITS[layer]
    module = network.backbone.get_submodule(path)
    if side == "input":
        handle = module.register_forward_pre_hook(lambda module, inputs: (changed(inputs[0], edit),))
    else:
        handle = module.register_forward_hook(lambda module, inputs, output: changed(output, edit))
    with torch.no_grad():
        expected = network(x)
        handle.remove()
        before = network(x)
        with taps(network, [layer], replace={layer: torch.zeros_like}) as tapped:
            assert torch.equal(network(x), expected)
            assert not tapped[layer].any()
        assert torch.equal(network(x), before)
        assert not torch.equal(before, expected)
    assert not module._forward_pre_hooks


@pytest.mark.parametrize("layer", ["blocks.0:class", "blocks.0.attn:head1", "blocks.1.mlp.act", "penultimate"])
def test_the_rest_behind_a_part(layer, caplog):
    network, x = vit(), images(3)
    behind = Behind(network, layer)
    begun = behind.begin(x)
    with torch.no_grad():
        _, features = network.forward_features(x, [layer])
        assert torch.equal(begun.activation, features[layer])
        replaced = torch.randn(4, *begun.activation.shape[1:], generator=torch.Generator().manual_seed(2))
        with taps(network, replace={layer: replaced}):
            expected = network(x[1:2].expand(4, -1, -1, -1))
        torch.testing.assert_close(behind.logits(begun, 1, replaced), expected, atol=1e-5, rtol=1e-4)
    assert "every ablation runs the whole network" not in caplog.text


def test_a_pass_ends_at_a_part():
    network, x = vit(), images()
    with torch.no_grad():
        _, features = network.forward_features(x, ["blocks.0.attn:head1"])
        assert torch.equal(forward_until(network, x, "blocks.0.attn:head1"), features["blocks.0.attn:head1"])


def test_gradients_reach_a_part():
    network, x = vit().double(), images().double().requires_grad_()
    _, features = network.forward_features(x, ["blocks.1.attn:head0"])
    (gradient,) = torch.autograd.grad(features["blocks.1.attn:head0"].sum(), x)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("blocks.0:register0", "has the tokens class beside its patches"),
        ("blocks.0.attn:head3", "blocks.0.attn has 3 heads, head0 to head2"),
        ("blocks.0.mlp:head0", "Mlp is no attention with heads and a projection"),
        ("blocks.0:odd", "after ':' comes input, headN"),
        ("blocks.9:class", r"layer must be a module path .* got 'blocks.9:class'"),
    ],
)
def test_parts_that_are_not_there_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        vit().check([layer])


def test_a_network_without_tokens_says_so():
    network = small_network()
    with pytest.raises(ValueError, match="SmallBackbone has no tokens beside its patches"):
        network.forward_features(torch.rand(1, 3, 16, 16), ["relu1:class"])


class Torchs(nn.Module):
    """PyTorch's own attention, and tokens that are called class tokens and stand behind no patches."""

    def __init__(self):
        super().__init__()
        self.attention, self.class_token = nn.MultiheadAttention(4, 2), nn.Parameter(torch.zeros(1, 1, 4))


def test_attention_in_one_function_is_refused():
    network = Network(Torchs(), name="torchs", num_classes=2, input_size=8)
    with pytest.raises(ValueError, match="MultiheadAttention computes its heads and their projection in one function"):
        network.check(["attention:head0"])


class Named(nn.Module):
    """Calls its head by name."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(input=self.conv(x).mean((2, 3)))


def test_an_input_that_is_passed_by_name_is_refused():
    network, x = Network(Named().eval(), name="named", num_classes=2, input_size=8), torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match="layer 'fc:input': its module is called with named arguments alone"):
        network.forward_features(x, ["fc:input"])
    with (
        taps(network, replace={"fc:input": torch.zeros_like}),
        pytest.raises(ValueError, match="layer 'fc:input': its module is called with named arguments alone"),
    ):
        network(x)
    with pytest.raises(ValueError, match="layer 'fc:input': its module is called with named arguments alone"):
        Behind(network, "fc:input").begin(x)
    assert network(x).shape == (1, 2)
