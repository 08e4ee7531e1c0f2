"""AttnLRP against a literal transcription, its sums, its derivative, and what it refuses."""

import pytest
import timm
import torch
from explanation_helpers import Branches, batch, wrap
from family_networks import BUILD, network_of
from reference.attention_relevance import gamma_linear, vit_relevance
from timm.models.mlp_mixer import MlpMixer
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.attacks import ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.explanations import LRP, AttnLRP, ExplanationConfig
from lightning_advinterp.networks import Network


def images(network, count=2):
    size, generator = network.input_size, torch.Generator().manual_seed(0)
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=generator), torch.arange(count) + 1


def gated_mixer():
    """MLPs whose halves are multiplied."""
    kinds = {"mlp_layer": timm.layers.GluMlp, "act_layer": nn.SiLU}
    return MlpMixer(num_classes=5, img_size=32, patch_size=8, num_blocks=2, embed_dim=24, **kinds)


SMALL = {"mobilenet": lambda: timm.create_model("mobilenetv3_small_050", num_classes=5), "mixer": gated_mixer}


def lively(network, bias=0.1, spread=3.0):
    """Weights and biases that matter: at the start of a training biases are 0, and attention is uniform."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.mul_(spread)
            elif name.endswith("bias"):
                parameter.add_(bias * noise)
            else:
                parameter.mul_(1 + 0.2 * noise)
    return network.double()


def logit(network, x, y):
    with torch.no_grad():
        return network(x).gather(1, y[:, None])[:, 0]


def test_equals_a_literal_transcription():
    network = lively(network_of("vit"))
    x, y = images(network)
    with torch.no_grad():
        expected, absorbed = vit_relevance(network.backbone, network.normalize(x), y)
    relevance = AttnLRP().explain(network, x, y)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(relevance, expected, rtol=1e-6, atol=1e-8 * expected.abs().max().item())
    # complete, with what biases, constants and softmax absorb
    assert absorbed.abs().min() > 1e-3
    torch.testing.assert_close(relevance.sum((1, 2, 3)) + absorbed, logit(network, x, y), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("gamma", [0.0, 0.25])
@pytest.mark.parametrize("name", ["convnext", "torchvision's convnext", "mobilenet", "mixer"])
def test_complete_without_biases(name, gamma):
    """Residual sums, layer scale, depthwise convolutions, LayerNorm, GELU, gates: nothing is lost."""
    if name in BUILD:
        network = network_of(name)
    else:
        torch.manual_seed(0)
        body = SMALL[name]().eval()
        network = Network(body, name=name, num_classes=5, input_size=32)
    network = lively(network, bias=0.0, spread=1.5)
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.endswith("bias"):
            nn.init.zeros_(parameter)
    if name == "mixer":
        nn.init.normal_(network.backbone.head.weight)
    x, y = images(network)
    r = AttnLRP(gamma=gamma).explain(network, x, y)
    expected = logit(network, x, y)
    assert expected.abs().min() > 1e-9
    torch.testing.assert_close(r.sum((1, 2, 3)), expected, rtol=1e-7, atol=0)


def test_equals_the_epsilon_rule_on_a_convolutional_network():
    network, (x, y) = wrap(Branches()), batch()
    expected = LRP(rule="epsilon", first="same", epsilon=0).explain(network, x, y)
    relevance = AttnLRP().explain(network, x, y)
    torch.testing.assert_close(relevance, expected, rtol=1e-5, atol=1e-7 * expected.abs().max().item())


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
def test_gamma_equals_loops(gamma):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.GELU(), nn.Linear(5, 3)).double().requires_grad_(False)
    x, y = torch.rand(2, 3, 2, 2, dtype=torch.float64) - 0.5, torch.tensor([1, 2])
    relevance = AttnLRP(gamma=gamma).explain(body, x, y)
    for image in range(2):
        a = x[image].flatten()
        hidden = F.gelu(body[1](a)).detach()
        r = torch.zeros(3, dtype=torch.float64)
        r[y[image]] = body(x)[image, y[image]].detach()
        r = gamma_linear(hidden, body[3].weight, body[3].bias, r, gamma)
        expected = gamma_linear(a, body[1].weight, body[1].bias, r, gamma).detach()
        torch.testing.assert_close(relevance[image].flatten(), expected, rtol=1e-9, atol=1e-12)


def test_gamma_of_a_convolution_is_that_of_its_matrix():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 2, 3, padding=1, stride=2).double().requires_grad_(False)
    body = nn.Sequential(conv, nn.Flatten())
    x, y = torch.rand(1, 3, 4, 4, dtype=torch.float64) - 0.5, torch.tensor([5])
    matrix = torch.autograd.functional.jacobian(lambda z: body(z)[0], x).reshape(8, 48)
    r = torch.zeros(8, dtype=torch.float64)
    r[5] = body(x)[0, 5].detach()
    expected = gamma_linear(x.flatten(), matrix, conv.bias.repeat_interleave(4), r, 0.5).detach()
    torch.testing.assert_close(AttnLRP(gamma=0.5).explain(body, x, y).flatten(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.25])
@pytest.mark.parametrize("name", ["vit", "swin", "convnext", "torchvision's vit"])
def test_the_derivative_equals_differences(name, gamma):
    network = lively(network_of(name))
    x, y = images(network, 1)
    along = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3))
    method = AttnLRP(gamma=gamma)

    def value(t):
        return (method.explain(network, x + t * along, y, create_graph=True) * along).sum()

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(t), t)
    difference = (value(t.detach() + 1e-7) - value(t.detach() - 1e-7)) / 2e-7
    assert slope != 0
    torch.testing.assert_close(slope, difference.detach(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", [name for name in BUILD if name != "resnet"])
def test_every_family_has_maps_that_do_not_depend_on_the_batch(name):
    network = network_of(name).double()
    x, y = images(network)
    maps = AttnLRP().map(network, x, y)
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(2, dtype=torch.float64))
    alone = AttnLRP().map(network, x[1:], y[1:])
    torch.testing.assert_close(alone, maps[1:], rtol=1e-6, atol=1e-10)
    logits, looked = AttnLRP().look(network, x, y)
    torch.testing.assert_close(looked, maps)
    torch.testing.assert_close(logits, network(x).detach())


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Hidden(torch.autograd.Function):
    """Leaves torch on the way, so that nobody sees what it does."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(2 * x.detach().numpy())

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class Hiding(nn.Module):
    def forward(self, x):
        return x + Hidden.apply(x)


class Rereading(nn.Module):
    def forward(self, x):
        F.relu(x, inplace=True)
        return x


class Ratio(nn.Module):
    def forward(self, x):
        return 1 / (x + 2)


class Adding(nn.Module):
    def forward(self, x):
        return x + torch.sigmoid(x)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Sine(), r"no rule for sin\(\) in layer 1 \(Sine\); take a gradient method"),
        (Hiding(), "do not give its own gradient"),
        (Rereading(), "do not give its own gradient"),
        (Ratio(), r"no rule for .*div.*\(\).* in layer 1 \(Ratio\)"),
        (Adding(), r"no rule for add\(\) of a gate or a statistic beside other values in layer 1 \(Adding\)"),
        (nn.BatchNorm2d(2, track_running_stats=False), r"no rule for batch_norm\(\) without running statistics"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(part, message):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 2, 3), part, nn.Flatten(), nn.Linear(72, 3))
    x, y = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in body.modules()]
    for create_graph in (False, True):
        with pytest.raises(ValueError, match=message):
            AttnLRP().explain(body, x, y, create_graph=create_graph)
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in body.modules()]


class Doubled(torch.autograd.Function):
    """Its forward pass is of plain functions, which are followed."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


def test_functions_with_a_backward_pass_are_followed_where_it_is_true():
    class Doubling(nn.Module):
        def forward(self, x):
            return Doubled.apply(x)

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), Doubling(), nn.Linear(12, 3)).double()
    x, y = torch.rand(2, 3, 2, 2, dtype=torch.float64).requires_grad_(), torch.tensor([0, 1])
    expected = 2 * x.flatten(1) * body[2].weight[y]
    for create_graph in (False, True):
        relevance = AttnLRP().explain(body, x, y, create_graph=create_graph)
        torch.testing.assert_close(relevance.flatten(1), expected.detach() if not create_graph else expected)
    (slope,) = torch.autograd.grad(relevance.square().sum(), x)
    torch.testing.assert_close(slope, torch.autograd.grad(expected.square().sum(), x)[0])


def test_gates_and_statistics_get_no_relevance():
    """x·σ(x) is SiLU, whose relevance passes unchanged; x over its own length is a norm with the length held."""

    class Gated(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    class Unit(nn.Module):
        def forward(self, x):
            return x / (x.pow(2).sum(1, keepdim=True) + 1e-3).sqrt()

    torch.manual_seed(0)
    x, y = torch.rand(2, 3, 2, 2, dtype=torch.float64) - 0.5, torch.tensor([0, 1])
    layers = [nn.Flatten(), nn.Linear(12, 6), nn.SiLU(), nn.Linear(6, 3)]
    expected = AttnLRP().explain(nn.Sequential(*layers).double(), x, y)
    layers[2] = Gated()
    torch.testing.assert_close(AttnLRP().explain(nn.Sequential(*layers).double(), x, y), expected)
    unit, linear = nn.Sequential(nn.Flatten(), Unit(), nn.Linear(12, 3, bias=False)).double(), []
    for image in range(2):
        point = x[image].flatten()
        length = (point.square().sum() + 1e-3).sqrt()
        linear.append(point / length * unit[2].weight[y[image]].detach())
    torch.testing.assert_close(AttnLRP().explain(unit, x, y).flatten(1), torch.stack(linear))


def test_by_name_and_attacked():
    method = ExplanationConfig("attnlrp", gamma=0.1).create()
    assert (method.name, method.gamma) == ("attnlrp", 0.1)
    with pytest.raises(ValueError, match="gamma must be 0 or more"):
        AttnLRP(gamma=-1)
    network = lively(network_of("vit")).float()
    x, _ = images(network)
    x = x.float()
    attack = create_explanation_attack(ExplanationAttackConfig("topk", eps="8/255", steps=4, k=50), method)
    assert attack.softplus is None
    result = attack.run(network, x)
    assert result.success.any()
    assert (result.x_adv - x).abs().max() <= 8 / 255 + 1e-6
