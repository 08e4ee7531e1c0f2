"""LRP, DeepLIFT and PatternAttribution against other implementations, and the sums that they keep."""

from collections import OrderedDict

import pytest
import torch
from captum.attr._core import deep_lift as captum_deeplift
from explanation_helpers import Branches, batch, plain, without_biases, wrap
from reference import propagation as reference
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional

from lightning_advinterp.explanations import LRP, DeepLift, Gradient, PatternAttribution, learn_patterns
from lightning_advinterp.networks import Network, create_network, smoothed_relu, taps


def bounds(network):
    return (network.normalize(torch.full((1, 3, 1, 1), level, dtype=torch.float64)) for level in (0.0, 1.0))


@pytest.mark.parametrize("rule", ["alpha_beta", "epsilon", "gamma"])
@pytest.mark.parametrize("body", [Branches, plain])
def test_lrp_equals_input_times_gradient_of_rescaled_layers(body, rule):
    network, (x, y) = wrap(body()), batch()
    expected = reference.lrp(network.backbone, network.normalize(x), y, *bounds(network), rule=rule)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(LRP(rule=rule).explain(network, x, y), expected, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_alpha_beta_of_one_layer_literally(alpha):
    """R_i = Σ_j (α c_ij⁺ / Σ c⁺ − β c_ij⁻ / Σ c⁻) R_j with c_ij = a_i W_ji, signs of a included."""
    torch.manual_seed(0)
    layer = nn.Linear(3 * 4, 4, bias=False).double()
    x, y = torch.randn(1, 3, 2, 2, dtype=torch.float64), torch.tensor([2])
    logits = layer(x.flatten(1))[0]
    expected = torch.zeros(12, dtype=torch.float64)
    contributions = [x.flatten()[i] * layer.weight[2, i] for i in range(12)]
    up = sum(c for c in contributions if c > 0)
    down = sum(c for c in contributions if c < 0)
    for i, c in enumerate(contributions):
        expected[i] = (alpha * c / up if c > 0 else -(alpha - 1) * c / down) * logits[2]
    relevance = LRP(first="same", alpha=alpha).explain(nn.Sequential(nn.Flatten(), layer), x, y)
    torch.testing.assert_close(relevance.flatten(), expected, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("body", [Branches, plain])
def test_relevance_is_kept_and_positive_without_biases(body):
    network, (x, y) = without_biases(wrap(body())), batch(8)
    logit = network(x).gather(1, y[:, None])[:, 0]
    positive = logit > 0  # a negative logit may have no positive contributions to share it among
    assert 1 < positive.sum() < 8
    relevance = LRP().explain(network, x, y)[positive]
    torch.testing.assert_close(relevance.sum((1, 2, 3)), logit.detach()[positive], atol=1e-6, rtol=1e-6)
    assert relevance.min() >= 0


class EverySecond(nn.Module):
    """Every second pixel, in a network of the user's own."""

    selects = True

    def forward(self, x):
        return x[:, :, ::2, ::2]


class Padded(nn.Module):
    """Zeros below and at the right."""

    selects = True

    def forward(self, x):
        return functional.pad(x, (0, 1, 0, 1))


class Doubled(EverySecond):
    """Does not select, though its class was derived from one that does."""

    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("method", [LRP(), LRP(rule="epsilon"), DeepLift()])
def test_a_module_that_selects_is_passed_through(method):
    """It is a linear layer whose weights are 0 where nothing is selected."""
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 4, 3, padding=1).double(), nn.Linear(4 * 4 * 4, 5).double()
    wide = nn.Linear(4 * 8 * 8, 5).double()
    with torch.no_grad():
        weight = torch.zeros(5, 4, 8, 8, dtype=torch.float64)
        weight[:, :, ::2, ::2] = last.weight.view(5, 4, 4, 4)
        wide.weight.copy_(weight.flatten(1))
        wide.bias.copy_(last.bias)
    x, y = torch.rand(3, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 3, 4])
    selecting = nn.Sequential(first, nn.ReLU(), EverySecond(), nn.Flatten(), last)
    expected = method.explain(nn.Sequential(first, nn.ReLU(), nn.Flatten(), wide), x, y)
    torch.testing.assert_close(method.explain(selecting, x, y), expected, atol=1e-12, rtol=1e-9)
    with pytest.raises(ValueError, match=r"has no rule for layer 2 \(Doubled\)"):
        method.explain(nn.Sequential(first, nn.ReLU(), Doubled(), nn.Flatten(), last), x, y)


def test_lrp_bounds_of_the_image_are_the_widest_of_all_channels():
    network, (x, y) = wrap(Branches()), batch()
    low, high = bounds(network)
    low, high = low.min().expand(1, 3, 1, 1), high.max().expand(1, 3, 1, 1)
    expected = reference.lrp(network.backbone, network.normalize(x), y, low, high)
    torch.testing.assert_close(LRP(bounds="image").explain(network, x, y), expected, atol=1e-9, rtol=1e-7)
    assert (LRP().explain(network, x, y) - expected).norm() > 0.1 * expected.norm()


def test_dense_layers_may_have_a_rule_of_their_own():
    network, (x, y) = wrap(plain()), batch()
    mixed = LRP(rule="gamma", dense_rule="epsilon").explain(network, x, y)
    assert not torch.allclose(mixed, LRP(rule="gamma").explain(network, x, y))
    assert not torch.allclose(mixed, LRP(rule="epsilon").explain(network, x, y))


@pytest.mark.parametrize("reference_image", ["mean", "noise"])
@pytest.mark.parametrize("body", [Branches, plain])
def test_deeplift_sums_to_the_difference_of_logits(body, reference_image):
    network, (x, y) = wrap(body()), batch(4)
    baseline = "mean" if reference_image == "mean" else torch.rand(3, 8, 8, dtype=torch.float64)
    image = network._mean.expand(3, 8, 8) if reference_image == "mean" else baseline
    gap = (network(x) - network(image[None])).gather(1, y[:, None])[:, 0]
    attribution = DeepLift(baseline=baseline).explain(network, x, y)
    torch.testing.assert_close(attribution.sum((1, 2, 3)), gap.detach(), atol=1e-12, rtol=1e-10)
    assert attribution.abs().max() > 1e-3


def test_deeplift_equals_the_gradient_of_a_linearised_network():
    network = wrap(plain())
    x, y = batch()
    z, z0 = network.normalize(x), network.normalize(torch.rand(1, 3, 8, 8, dtype=torch.float64))
    expected = reference.deeplift(fuse(network.backbone), z, z0.expand_as(z), y)
    baseline = z0[0] * network._std + network._mean
    torch.testing.assert_close(DeepLift(baseline=baseline).explain(network, x, y), expected, atol=1e-12, rtol=1e-9)


def test_deeplift_is_the_gradient_times_the_difference_where_nothing_bends():
    network = wrap(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()))
    x, y = batch()
    weight = network.backbone[0].weight[y]
    expected = weight * network.normalize(x)
    torch.testing.assert_close(DeepLift().explain(network, x, y), expected.detach())


def clipped(*strided, size=3):
    """A network of ReLU6, and its images; the activations after ``strided`` are below 0, between, and above 6."""
    network = wrap(nn.Sequential(nn.Conv2d(3, 3, 1), *strided, nn.Flatten(), nn.Linear(5 * size**2, 4)))
    with torch.no_grad():
        network.backbone[0].weight.mul_(20)
    x, y = batch(4)
    before = nn.ReLU6.forward
    noted = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.ReLU6, "forward", lambda self, z: before(self, noted.append(z.clone()) or z))
        network(x)
    assert (noted[0] < 0).any()
    assert ((noted[0] > 0) & (noted[0] < 6)).any()
    assert (noted[0] > 6).any()
    return network, x, y


@pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks")
def test_relu6_in_deeplift_equals_captum(monkeypatch):
    """Captum has the Rescale rule for any activation, and ReLU6 is not on its list."""
    monkeypatch.setitem(captum_deeplift.SUPPORTED_NON_LINEAR, nn.ReLU6, captum_deeplift.nonlinear)
    network, x, y = clipped(nn.Conv2d(3, 5, 3, 2), nn.BatchNorm2d(5), nn.ReLU6())
    z = network.normalize(x).requires_grad_()
    expected = (
        captum_deeplift.DeepLift(network.backbone).attribute(z, torch.zeros_like(z).requires_grad_(), target=y).detach()
    )
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(DeepLift().explain(network, x, y), expected, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("rule", ["alpha_beta", "epsilon", "gamma"])
def test_relu6_in_lrp_passes_relevance_on(rule):
    network, x, y = clipped(nn.ReLU6(), nn.Conv2d(3, 5, 3, 2), nn.ReLU6())  # the gamma rule takes no negative inputs
    expected = reference.lrp(network.backbone, network.normalize(x), y, *bounds(network), rule=rule)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(LRP(rule=rule).explain(network, x, y), expected, atol=1e-8, rtol=1e-6)


def test_relu6_of_a_smoothed_network_has_the_slope_of_its_surrogate():
    """Equal images make Δin zero, where m is the derivative: gradient times a small difference, to second order."""
    network, x, y = clipped(nn.Conv2d(3, 5, 3, 2), nn.ReLU6())
    step = 1e-6 * torch.ones_like(x[:1])
    with smoothed_relu(3.0):
        attribution = DeepLift(baseline=x[0] - step[0]).explain(network, x[:1], y[:1])
        gradient = Gradient().explain(network, x[:1], y[:1]) * (step / network._std)
    torch.testing.assert_close(attribution, gradient, atol=0.0, rtol=1e-3)


@pytest.mark.parametrize("method", [LRP(rule="epsilon"), LRP(rule="alpha_beta"), DeepLift()])
def test_layers_of_timm_are_what_they_are_made_of(method):
    """A convolution that pads as TensorFlow's, and a BatchNorm that ends with its activation: EfficientNet-Lite's."""
    theirs, x, y = clipped(Conv2dSame(3, 5, 3, 2), BatchNormAct2d(5, act_layer=nn.ReLU6), size=4)
    convolution, norm = nn.Conv2d(3, 5, 3, 2).double(), nn.BatchNorm2d(5).double().eval()
    convolution.load_state_dict(theirs.backbone[1].state_dict())
    norm.load_state_dict(theirs.backbone[2].state_dict())
    body = nn.Sequential(theirs.backbone[0], Padded(), convolution, norm, nn.ReLU6(), *theirs.backbone[3:])
    ours = Network(body, name="ours", num_classes=4, mean=theirs.mean, std=theirs.std, input_size=8).double().eval()
    torch.testing.assert_close(ours(x), theirs(x))
    expected = method.explain(ours, x, y)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(method.explain(theirs, x, y), expected, atol=1e-10, rtol=1e-8)


def test_an_activation_of_timm_without_a_rule_is_named():
    network = wrap(nn.Sequential(nn.Conv2d(3, 4, 8), BatchNormAct2d(4, act_layer=nn.SiLU), nn.Flatten()))
    with pytest.raises(ValueError, match=r"no rule for layer 1 \(BatchNormAct2d with SiLU\)"):
        DeepLift().explain(network, *batch())


@pytest.mark.parametrize("method", [LRP(), DeepLift()])
def test_a_transformer_is_refused_in_its_users_words(method):
    network = create_network("timm/vit_tiny_patch16_224", input_size=32, depth=1, embed_dim=24, num_heads=2).eval()
    named = (
        rf"^{method.name} has no rule for layer blocks\.0\.norm1 \(LayerNorm\), the attention of layer "
        r"blocks\.0\.attn, layer blocks\.0\.mlp\.act \(GELU\)\. .* take attnlrp"
    )
    with pytest.raises(ValueError, match=named):
        method.explain(network, torch.rand(1, 3, 32, 32), torch.tensor([1]))


FAMILIES = {"alexnet": 64, "vgg16": 32, "vgg16_bn": 32, "resnet18": 64, "resnet50": 64, "squeezenet1_0": 64}.items()


def family(name):
    """A network with random weights, whose BatchNorms scale."""
    torch.manual_seed(0)
    network = create_network(name, num_classes=5).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
    return network


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_lrp_keeps_the_logit_on_the_known_families_without_biases(name, size):
    network, x = without_biases(family(name)), torch.rand(2, 3, size, size)
    logit, y = network(x).detach().max(1)
    assert logit.min() > 0
    relevance = LRP().explain(network, x, y)
    torch.testing.assert_close(relevance.sum((1, 2, 3)), logit, atol=0.0, rtol=1e-3)
    assert relevance.min() >= -1e-3 * relevance.max()


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_deeplift_is_complete_on_the_known_families(name, size):
    network = family(name)
    x, y = torch.rand(1, 3, size, size), torch.tensor([1])
    gap = (network(x) - network(network._mean.expand_as(x)))[0, 1]
    total = DeepLift().explain(network, x, y).sum()
    torch.testing.assert_close(total, gap.detach(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("method", [LRP(), DeepLift()])
def test_networks_without_a_rule_are_refused_by_the_layer_s_name(method):
    x, y = batch()
    gelu = wrap(nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 8), act=nn.GELU(), flat=nn.Flatten())))
    with pytest.raises(ValueError, match=r"no rule for layer act \(GELU\)"):
        method.explain(gelu, x, y)

    class Scaled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(ValueError, match=r"no rule for layer 0 \(Scaled\)"):
        method.explain(wrap(nn.Sequential(Scaled(3, 4, 8), nn.Flatten())), x, y)


def test_a_product_of_branches_is_refused():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 8)

        def forward(self, x):
            return torch.flatten(self.conv(x) * self.conv(x), 1)

    x, y = batch()
    with pytest.raises(ValueError, match=r"no rule for mul\(\)"):
        DeepLift().explain(wrap(Gated()), x, y)


def test_lrp_refuses_a_norm_of_its_own_and_deeplift_takes_it():
    network, (x, y) = wrap(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 8), nn.Flatten())), batch()
    with pytest.raises(ValueError, match=r"layer 0 \(BatchNorm2d\)"):
        LRP().explain(network, x, y)
    image = network._mean.expand_as(x)
    gap = (network(x) - network(image)).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(DeepLift().explain(network, x, y).sum((1, 2, 3)), gap.detach())


def test_layers_that_are_being_changed_are_refused():
    network, (x, y) = wrap(plain()), batch()
    with taps(network, ablate={"0": [1]}), pytest.raises(ValueError, match="leave the block"):
        LRP().explain(network, x, y)


def test_a_layer_that_was_exchanged_is_seen():
    network, (x, y) = wrap(plain()), batch()
    before = DeepLift().explain(network, x, y)
    network.backbone[9] = nn.Linear(7, 4).double()
    after = DeepLift().explain(network, x, y)
    image = network._mean.expand_as(x)
    gap = (network(x) - network(image)).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(after.sum((1, 2, 3)), gap.detach())
    assert not torch.allclose(before, after)


class Aliased(nn.Module):
    """A network that reads again what it changed in place, in one of three ways."""

    def __init__(self, way):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Linear(256, 4)
        self.second, self.way = nn.Conv2d(4, 4, 3, padding=1), way

    def forward(self, x):
        x = first = self.conv(x)
        if self.way == "function":
            x = torch.relu_(x)
        elif self.way == "module":
            x = self.relu(x)
        else:
            x += torch.relu(x)
        return self.fc(torch.flatten(self.second(x) + first, 1))


@pytest.mark.parametrize("way", ["function", "module", "sum"])
def test_what_works_in_place_on_what_is_read_again_is_refused(way):
    torch.manual_seed(0)
    network, (x, y) = Aliased(way).double().eval(), batch()
    for method in (LRP(first="same", rule="epsilon"), DeepLift()):
        with pytest.raises(ValueError, match=rf"{method.name} .* the first to differ is layer fc"):
            method.explain(network, x, y)


def test_a_hook_that_changes_an_output_is_refused_also_after_the_first_map():
    network, (x, y) = wrap(plain()), batch()
    patterns = PatternAttribution(learn_patterns(network, [batch(64)[0]]))
    for method in (LRP(), DeepLift(), patterns):
        before = method.explain(network, x, y)
        hook = network.backbone[4].register_forward_hook(lambda module, inputs, output: 1.001 * output)
        with hook, pytest.raises(ValueError, match="the first to differ is layer 4"):
            method.explain(network, x, y)
        torch.testing.assert_close(method.explain(network, x, y), before)


def test_what_works_in_place_on_what_nobody_reads_again_is_taken():
    torch.manual_seed(0)
    network, (x, y) = nn.Sequential(nn.Conv2d(3, 4, 8), nn.ReLU(inplace=True), nn.Flatten()).double(), batch()
    gap = (network(x) - network(torch.zeros_like(x))).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(DeepLift().explain(network, x, y).sum((1, 2, 3)), gap.detach())


def test_a_network_is_compared_with_its_steps_once():
    network, (x, y) = wrap(plain()), batch()
    calls = []
    network.backbone[0].register_forward_hook(lambda module, inputs, output: calls.append(1))
    LRP().explain(network, x, y)
    DeepLift().explain(network, x, y)
    assert len(calls) == 1
