"""Every tap is checked against a literal recomputation from what entered the modules concerned."""

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.networks import create_network, taps
from lightning_advinterp.units.conv_layers import conv_taps

TOTALS = {
    "alexnet": (5, 1152),
    "vgg16": (13, 4224),
    "vgg16_bn": (13, 4224),
    "resnet18": (17, 3904),
    "resnet50": (49, 22720),
    "inception_v3": (94, 17216),
    "googlenet": (57, 7280),
    "squeezenet1_0": (26, 3976),
    "densenet121": (120, 10240),
    "mobilenet_v2": (52, 17056),
    "efficientnet_b0": (49, 21008),
    "convnext_tiny": (22, 8064),
    "cifar_resnet20": (19, 688),
    "timm/resnet18": (17, 3904),
    "timm/seresnet50": (49, 22720),
    "timm/efficientnet_b0": (49, 21008),
    "timm/densenet121": (120, 10240),
}


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    with torch.device("meta"):
        units = conv_taps(create_network(name))
    assert (len(units), sum(unit.channels for unit in units)) == TOTALS[name]
    assert len({unit.layer for unit in units}) == len(units)


def inputs_of(network, x, paths):
    """What enters the named modules at their first call, as it was then."""
    inputs_by_path, handles = {}, []

    def note(path):
        def hook(module, inputs):
            inputs_by_path.setdefault(path, inputs[0][0] if isinstance(inputs[0], list) else inputs[0].clone())

        return hook

    for path in paths:
        handles.append(network.backbone.get_submodule(path).register_forward_pre_hook(note(path)))
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    return inputs_by_path


def basic(block, x):
    identity = block.downsample(x) if block.downsample else x
    first = F.relu(block.bn1(block.conv1(x)))
    return {"conv1": first, "conv2": F.relu(block.bn2(block.conv2(first)) + identity)}


def bottleneck(block, x):
    identity = block.downsample(x) if block.downsample else x
    first = F.relu(block.bn1(block.conv1(x)))
    second = F.relu(block.bn2(block.conv2(first)))
    return {"conv1": first, "conv2": second, "conv3": F.relu(block.bn3(block.conv3(second)) + identity)}


def option_a(block, x):
    first = F.relu(block.bn1(block.conv1(x)))
    return {"conv1": first, "conv2": F.relu(block.bn2(block.conv2(first)) + block.shortcut(x))}


def fire(block, x):
    squeezed = F.relu(block.squeeze(x))
    return {
        "squeeze": squeezed,
        "expand1x1": F.relu(block.expand1x1(squeezed)),
        "expand3x3": F.relu(block.expand3x3(squeezed)),
    }


def inverted(block, x):
    first = F.relu6(block.conv[0][1](block.conv[0][0](x)))
    second = F.relu6(block.conv[1][1](block.conv[1][0](first)))
    return {"conv.0.0": first, "conv.1.0": second, "conv.2": block.conv[3](block.conv[2](second))}


def efficient(block, x):
    first = F.silu(block.block[0][1](block.block[0][0](x)))
    second = F.silu(block.block[1][1](block.block[1][0](first)))
    third = block.block[3][1](block.block[3][0](block.block[2](second)))
    return {"block.0.0": first, "block.1.0": second, "block.3.0": third}


def dense(layer, x):
    first = layer.conv1(F.relu(layer.norm1(x)))
    second = F.relu(layer.norm2(first))
    return {"conv1": second, "conv2": layer.conv2(second)}


def squeeze_excite(block, x):
    first = F.relu(block.bn1(block.conv1(x)))
    second = F.relu(block.bn2(block.conv2(first)))
    third = block.se(block.bn3(block.conv3(second)))
    return {"conv1": first, "conv2": second, "conv3": F.relu(third + block.downsample(x))}


def normalized(block, x):
    return {"conv": F.relu(block.bn(block.conv(x)))}


VALUES = [
    ("resnet18", "layer1.0", 64, basic),
    ("resnet18", "layer2.0", 64, basic),
    ("resnet18", "layer4.1", 64, basic),
    ("timm/resnet18", "layer3.0", 64, basic),
    ("resnet50", "layer1.0", 64, bottleneck),
    ("resnet50", "layer3.2", 64, bottleneck),
    ("cifar_resnet20", "layer2.0", 32, option_a),
    ("cifar_resnet20", "layer2.1", 32, option_a),
    ("squeezenet1_1", "features.3", 64, fire),
    ("squeezenet1_1", "features.12", 64, fire),
    ("mobilenet_v2", "features.3", 64, inverted),
    ("mobilenet_v2", "features.4", 64, inverted),
    ("efficientnet_b0", "features.2.1", 64, efficient),
    ("densenet121", "features.denseblock1.denselayer1", 64, dense),
    ("timm/seresnet50", "layer2.0", 64, squeeze_excite),
    ("inception_v3", "Conv2d_1a_3x3", 96, normalized),
    ("inception_v3", "Mixed_6b.branch7x7_2", 96, normalized),
    ("googlenet", "inception4a.branch2.1", 64, normalized),
]


@pytest.mark.parametrize(("name", "block", "size", "expected"), VALUES, ids=lambda value: str(value).split(" at")[0])
def test_taps_read_the_response_where_it_is_used(build, name, block, size, expected):
    network = build(name)
    units = {unit.layer: unit for unit in conv_taps(network)}
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    module = network.backbone.get_submodule(block)
    with torch.no_grad():
        responses = expected(module, inputs_of(network, x, [block])[block])
        here = [layer for layer in units if layer.startswith(f"{block}.")]
        assert sorted(here) == sorted(f"{block}.{conv}" for conv in responses)
        _, features = network.forward_features(x, [units[layer].tap for layer in here])
        with taps(network, [units[layer].tap for layer in here]) as tapped:
            network(x)
    for conv, value in responses.items():
        unit = units[f"{block}.{conv}"]
        torch.testing.assert_close(features[unit.tap], value, rtol=1e-4, atol=1e-4)
        assert torch.equal(tapped[unit.tap], features[unit.tap])
        assert unit.channels == value.shape[1]
        assert unit.signed == bool((value < 0).any())


@pytest.mark.parametrize(("name", "step"), [("alexnet", 1), ("vgg11", 1), ("timm/vgg11", 1), ("vgg11_bn", 2)])
def test_plain_sequences_are_read_at_the_relu(build, name, step):
    network = build(name)
    units = conv_taps(network)
    for unit in units:
        number = int(unit.layer.removeprefix("features."))
        assert unit.tap == f"features.{number + step}"
        assert not unit.signed
    assert units[-1].tap == network.phi


def test_first_taps_of_further_families(build):
    expected = {
        "convnext_tiny": ("features.0.0", 96, "features.0.1", True),
        "densenet121": ("features.conv0", 64, "features.relu0", False),
        "timm/densenet121": ("features.conv0", 64, "features.norm0", False),
        "timm/efficientnet_b0": ("conv_stem", 32, "bn1", True),
        "inception_v3": ("Conv2d_1a_3x3.conv", 32, "Conv2d_1a_3x3", False),
        "resnet18": ("conv1", 64, "relu", False),
    }
    for name, unit in expected.items():
        assert tuple(conv_taps(build(name))[0]) == unit


def test_dense_layers_return_signed_maps(build):
    units = {unit.layer: unit for unit in conv_taps(build("densenet121"))}
    layer = "features.denseblock1.denselayer1"
    assert units[f"{layer}.conv1"].tap == f"{layer}.relu2"
    assert units[f"{layer}.conv2"] == (f"{layer}.conv2", 32, f"{layer}.conv2", True)
    assert units["features.transition1.conv"].tap == "features.transition1.conv"


def test_every_tap_can_be_read_in_one_pass(build):
    for name, size in (("resnet18", 64), ("inception_v3", 96), ("densenet121", 64), ("mobilenet_v2", 64)):
        network = build(name)
        units = conv_taps(network)
        with torch.no_grad():
            _, features = network.forward_features(torch.rand(1, 3, size, size), [unit.tap for unit in units])
        for unit in units:
            assert features[unit.tap].shape[1] == unit.channels
            assert unit.signed or features[unit.tap].min() >= 0


class Branching(nn.Module):
    """Cannot be traced: its way depends on its input."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        y = self.a(x) if x.sum() > 0 else self.b(x)
        return self.fc(y.relu().mean((2, 3)))


def test_networks_that_cannot_be_traced_are_read_as_they_return(caplog):
    with caplog.at_level(logging.WARNING):
        units = conv_taps(Branching())
    assert units == [("a", 4, "a", True), ("b", 4, "b", True)]
    assert "Branching cannot be traced" in caplog.text


class Auxiliary(nn.Module):
    """Two heads, a sum of parallel convolutions, functional ReLUs, and a convolution as the last layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.left, self.right = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.aux, self.pool = nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 2)
        x = F.relu(self.left(x) + self.right(x))
        return self.last(self.pool(x)).flatten(1), self.pool(self.aux(x)).flatten(1)


def test_what_does_not_lead_to_the_logits_is_not_counted():
    units = conv_taps(Auxiliary())
    assert [unit.layer for unit in units] == ["stem", "left", "right"]
    assert [(unit.tap, unit.signed) for unit in units] == [("stem", True), ("left", True), ("right", True)]


def test_the_network_is_left_as_it_was(build):
    network = create_network("cifar_resnet20")
    hooks = sum(len(module._forward_hooks) for module in network.modules())
    units = conv_taps(network)
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert sum(len(module._forward_hooks) for module in network.modules()) == hooks
    with taps(network, ["layer1.0"], ablate={"layer1.0": [0]}):
        assert conv_taps(network) == units
    network.forward_features(torch.rand(2, 3, 32, 32), [unit.tap for unit in units])
    assert conv_taps(network) == units
