import copy
import pickle
from typing import NamedTuple

import pytest
import torch
from helpers import SmallBackbone, small_network
from torch import nn

from lightning_advinterp.networks import Network, create_network


class Outputs(NamedTuple):
    logits: torch.Tensor
    aux: torch.Tensor


class Wrapping(nn.Module):
    """Returns its logits in a structure."""

    def __init__(self, structure):
        super().__init__()
        self.linear, self.structure = nn.Linear(3, 4), structure

    def forward(self, x):
        return self.structure(self.linear(x.mean((2, 3))))


@pytest.fixture
def x():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_normalisation_is_the_first_layer(x):
    network = small_network()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    torch.testing.assert_close(network(x), network.backbone((x - mean) / std))


def test_state_dict_holds_the_backbone_alone():
    network = small_network()
    assert all(key.startswith("backbone.") for key in network.state_dict())
    assert {key.removeprefix("backbone.") for key in network.state_dict()} == set(network.backbone.state_dict())


def test_features_come_from_the_same_pass_and_are_in_its_graph(x):
    network = small_network()
    logits, features = network.forward_features(x.requires_grad_(), ["conv1", "relu2", "phi", "penultimate", "logits"])
    torch.testing.assert_close(logits, network(x), rtol=0, atol=0)
    assert list(features) == ["conv1", "relu2", "phi", "penultimate", "logits"]
    assert features["logits"] is logits
    torch.testing.assert_close(features["phi"], features["relu2"])
    torch.testing.assert_close(features["penultimate"], features["relu2"].mean((2, 3)))
    torch.testing.assert_close(features["conv1"], network.backbone.conv1(network.normalize(x)))
    (to_feature,) = torch.autograd.grad(logits.sum(), features["conv1"], retain_graph=True)
    (to_input,) = torch.autograd.grad(features["relu2"].sum(), x)
    assert to_feature.abs().sum() > 0
    assert to_input.abs().sum() > 0


def test_features_are_not_kept_after_the_pass(x):
    network = small_network()
    network.forward_features(x, ["relu1"])
    assert network._record.values is None
    hooks = len(network.backbone.relu1._forward_hooks)
    network.forward_features(x, ["relu1", "conv1"])
    network.forward_features(x, ["relu1"])
    assert len(network.backbone.relu1._forward_hooks) == hooks == 1


def test_a_layer_is_read_as_it_returns_though_its_successor_works_in_place(build):
    network = build("resnet18")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        _, features = network.forward_features(x, ["layer1.0.bn2", "layer1.0"])
        _, before = network.forward_features(x, ["layer1.0.conv2"])
        torch.testing.assert_close(features["layer1.0.bn2"], network.backbone.layer1[0].bn2(before["layer1.0.conv2"]))
    assert features["layer1.0.bn2"].min() < 0 <= features["layer1.0"].min()


def test_a_layer_called_twice_gives_its_last_call_or_the_one_named(build):
    network = build("resnet18")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        _, f = network.forward_features(x, ["layer1.0.relu", "layer1.0.relu#0", "layer1.0.relu#1", "layer1.0"])
    assert torch.equal(f["layer1.0.relu"], f["layer1.0"])
    assert torch.equal(f["layer1.0.relu#1"], f["layer1.0"])
    assert not torch.equal(f["layer1.0.relu#0"], f["layer1.0"])


def test_unknown_layers_name_the_nearest(build, x):
    network = build("resnet18")
    with pytest.raises(ValueError, match=r"layer4\.1\.conv2"):
        network.forward_features(x, ["layer4.1.conv_2"])
    with pytest.raises(ValueError, match=r"got 'backbone\.layer4'\. Did you mean layer4"):
        network.forward_features(x, ["backbone.layer4"])
    with pytest.raises(ValueError, match="number of the call"):
        network.forward_features(x, ["relu#first"])
    with pytest.raises(ValueError, match="was not reached"):
        network.forward_features(x, ["relu#5"])
    assert network._record.values is None
    with pytest.raises(ValueError, match="Its outermost layers are conv1"):
        network.forward_features(x, ["zzz"])


def test_layers_that_return_no_tensor_are_refused():
    backbone = nn.Sequential(Wrapping(lambda y: (y, y)))
    network = Network(backbone, name="pair", num_classes=4)
    with pytest.raises(ValueError, match="it returns tuple"):
        network.forward_features(torch.rand(2, 3, 8, 8), ["0"])


def test_aliases_without_a_layer_say_so(x):
    network = Network(SmallBackbone(), name="plain", num_classes=5)
    with pytest.raises(ValueError, match="no known 'phi'"):
        network.forward_features(x, ["phi"])
    with pytest.raises(ValueError, match="no known 'penultimate'"):
        network.forward_features(x, ["penultimate"])


@pytest.mark.parametrize(
    "structure",
    [
        lambda y: (y, -y),
        lambda y: [y],
        lambda y: Outputs(y, -y),
        lambda y: {"aux": -y, "logits": y},
        lambda y: {"out": y},
    ],
)
def test_structured_outputs_become_one_logits_tensor(structure):
    network = Network(Wrapping(structure), name="wrapping", num_classes=4)
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(network(x), network.backbone.linear(network.normalize(x).mean((2, 3))))


@pytest.mark.parametrize("structure", [lambda y: y[:, :, None, None], lambda y: None, lambda y: {"x": y}])
def test_outputs_without_logits_are_refused(structure):
    with pytest.raises(ValueError, match=r"must return logits \[B, K\]"):
        Network(Wrapping(structure), name="odd", num_classes=4)(torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize(
    "wrong",
    [torch.rand(3, 16, 16), torch.rand(2, 1, 16, 16), torch.zeros(2, 3, 16, 16, dtype=torch.uint8)],
)
def test_inputs_are_checked(wrong):
    with pytest.raises(ValueError, match="x must be float images"):
        small_network()(wrong)


@pytest.mark.parametrize("argument", [{"mean": [124, 116, 104]}, {"std": [0.2, 0.2]}, {"std": [0.2, 0.2, 0.0]}])
def test_mean_and_std_are_checked(argument):
    with pytest.raises(ValueError, match=r"mean|std"):
        Network(SmallBackbone(), name="small", num_classes=5, **argument)


def test_activations_work_out_of_place():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Sequential(nn.SiLU(inplace=True)))
    network = Network(backbone, name="inplace", num_classes=4)
    assert not any(getattr(module, "inplace", False) for module in network.modules())


def test_normalisation_stays_exact_in_low_precision(x):
    network = small_network()
    exact = network.normalize(x)
    network.to(torch.bfloat16)
    assert network._mean.dtype == torch.float32
    torch.testing.assert_close(network._mean.flatten(), torch.tensor(network.mean))
    assert network.normalize(x).dtype == torch.bfloat16
    torch.testing.assert_close(network.normalize(x), exact.bfloat16(), rtol=0, atol=0)
    assert network(x).dtype == torch.bfloat16


def test_double_precision_is_exact(x):
    network = small_network().double()
    mean = torch.tensor(network.mean, dtype=torch.float64)
    assert torch.equal(network._mean.flatten(), mean)
    assert network(x.double()).dtype == torch.float64


def test_autocast_normalises_in_float32(x):
    network = small_network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network.normalize(x).dtype == torch.float32
        assert network(x).dtype == torch.bfloat16


def test_channels_last_gives_the_same(x):
    network = small_network()
    expected = network(x)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(x.to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_read_their_own_features(x, duplicate):
    network = small_network()
    network.forward_features(x, ["relu1"])
    copied = duplicate(network)
    with torch.no_grad():
        copied.backbone.conv1.weight.zero_()
        _, changed = copied.forward_features(x, ["relu1", "conv2"])
        _, features = network.forward_features(x, ["relu1"])
    assert not torch.equal(changed["relu1"], features["relu1"])
    assert changed["relu1"].std((0, 2, 3)).max() < 1e-6


def test_forward_features_compiles_as_one_graph_once_prepared(x):
    network = small_network()
    layers = ["relu1", "phi"]
    network.prepare(layers)
    compiled = torch.compile(network.forward_features, backend="eager", fullgraph=True)
    for _ in range(2):
        logits, features = compiled(x, layers)
    expected, activations = network.forward_features(x, layers)
    torch.testing.assert_close(logits, expected)
    for layer in layers:
        torch.testing.assert_close(features[layer], activations[layer])
    torch.testing.assert_close(torch.compile(network, backend="eager", fullgraph=True)(x), expected)


def test_options_that_cannot_be_saved_are_named():
    network = create_network("resnet18", num_classes=2, norm_layer=nn.InstanceNorm2d)
    with pytest.raises(ValueError, match="to be saved, norm_layer must be a number"):
        network.spec()


def test_other_numbers_of_channels():
    network = create_network("timm/resnet18", num_classes=2, in_chans=1, mean=[0.5], std=[0.5])
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 2)
    assert create_network(**network.spec()).spec() == network.spec()


def test_spec_is_plain_and_rebuilds_the_architecture():
    network = create_network(
        "resnet18", num_classes=7, stem="small", mean=[0.5, 0.5, 0.5], phi="layer3", width_per_group=64
    )
    spec = network.spec()
    assert set(spec) >= {"name", "num_classes", "mean", "std", "input_size", "stem", "phi", "width_per_group"}
    assert spec["input_size"] == 32
    again = create_network(**spec)
    assert again.spec() == spec
    again.load_state_dict(network.state_dict())
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again.eval()(x), network.eval()(x))
