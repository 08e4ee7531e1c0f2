"""Explanations of units against captum's, and LRP from a unit against that of the network cut off behind it."""

import captum.attr as captum
import pytest
import torch
from explanation_helpers import Branches, batch, wrap
from helpers import assert_untouched, fingerprint, small_batch, small_network
from reference import propagation as reference
from torch.nn import functional as F

from lightning_advinterp.explanations.unit_maps import UNIT_METHODS, unit_map
from lightning_advinterp.units.spaces import unit_space

pytestmark = pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks")  # captum says what it does


def lively_network(**settings):
    """Every unit fires somewhere in every image."""
    network = small_network(**settings)
    with torch.no_grad():
        network.backbone.bn2.bias.fill_(3.0)
    return network


def layer_of(network, name):
    (layer,) = unit_space(network, name)
    return layer


def shares(maps):
    total = maps.sum((1, 2), keepdim=True)
    assert total.min() > 0
    return maps / total


def places(network, tap, x, units):
    """Flat number of a unit's strongest place, image by image."""
    maps = network.forward_features(x, [tap])[1][tap]
    return [int(maps[number, unit].flatten().argmax()) for number, unit in enumerate(units.tolist())], maps.shape


@pytest.mark.parametrize("tap", ["relu2", "bn2", "conv1", "fc"])
def test_the_gradient_is_captums_of_the_neuron(tap):
    network, x = lively_network().double(), small_batch(3, dtype=torch.float64).image
    units = torch.tensor([0, 3, 4])
    chosen, shape = places(network, tap, x, units)
    z, expected = network.normalize(x), []
    for number, (unit, place) in enumerate(zip(units.tolist(), chosen, strict=True)):
        neuron = (unit, place // shape[3], place % shape[3]) if len(shape) == 4 else (unit,)
        method = captum.NeuronGradient(network.backbone, network.backbone.get_submodule(tap))
        expected.append(method.attribute(z[number : number + 1].detach().requires_grad_(), neuron).abs().sum(1)[0])
    ours = unit_map(network, x, layer_of(network, tap), units, "gradient")
    torch.testing.assert_close(ours, shares(torch.stack(expected)), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize(("name", "reads"), [("all_conv", "conv2"), ("relu2", "relu2"), ("conv1", "conv1")])
def test_grad_cam_is_captums_of_what_the_layer_reads(name, reads):
    """For the unit's activation in the place of a logit; of the first convolution that is the image."""
    network, x = lively_network().double(), small_batch(3, dtype=torch.float64).image
    layer, units = unit_space(network, name).layers[-1], torch.tensor([1, 5, 2])

    def activation(z):
        maps = z
        for module in ("conv1",) if name == "conv1" else ("conv1", "bn1", "relu1", "conv2", "bn2", "relu2"):
            maps = network.backbone.get_submodule(module)(maps)
        return torch.stack([maps[number, unit].max() for number, unit in enumerate(units.tolist())])

    method = captum.LayerGradCam(activation, network.backbone.get_submodule(reads))
    cam = method.attribute(network.normalize(x).requires_grad_(), attribute_to_layer_input=True, relu_attributions=True)
    expected = F.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(unit_map(network, x, layer, units, "gradcam"), shares(expected), atol=1e-12, rtol=1e-9)


class Cut(torch.nn.Module):
    """The network of :class:`Branches` up to a layer, whose every place is a logit."""

    def __init__(self, body, end):
        super().__init__()
        self.body, self.end = body, end

    def forward(self, x):
        body = self.body
        x = body.relu(body.bn1(body.conv1(x)))
        if self.end == "relu#0":
            return x.flatten(1)
        x = body.pool(x)
        if self.end == "conv2":
            return body.conv2(x).flatten(1)
        if self.end == "bn2":
            return body.bn2(body.conv2(x)).flatten(1)
        x = body.relu(body.bn2(body.conv2(x)) + x)
        return body.left(x).flatten(1) if self.end == "left" else x.flatten(1)


@pytest.mark.parametrize("tap", ["relu#0", "conv2", "bn2", "relu#1", "left", "left:input"])
def test_lrp_is_that_of_the_network_cut_off_behind_the_unit(tap):
    """Before and behind a BatchNorm that is folded in, around a sum, and of a module that is called several times."""
    network, (x, _) = wrap(Branches()), batch(3)
    units = torch.tensor([0, 3, 2])
    chosen, shape = places(network, tap, x, units)
    target = torch.tensor(
        [unit * shape[2] * shape[3] + place for unit, place in zip(units.tolist(), chosen, strict=True)]
    )
    low, high = (network.normalize(torch.full((1, 3, 1, 1), level, dtype=torch.float64)) for level in (0.0, 1.0))
    cut = Cut(network.backbone, "relu#1" if tap == "left:input" else tap).eval()
    expected = reference.lrp(cut, network.normalize(x), target, low, high).abs().sum(1)
    assert expected.amax() > 1e-4
    ours = unit_map(network, x, layer_of(network, tap), units, "lrp")
    torch.testing.assert_close(ours, shares(expected), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("method", UNIT_METHODS)
def test_the_network_is_as_it_was_and_images_do_not_matter_to_each_other(method):
    network, x = lively_network(dropout=0.5).train(), small_batch(3).image
    before, layer, units = fingerprint(network), layer_of(network, "relu2"), torch.tensor([1, 1, 6])
    maps = unit_map(network, x, layer, units, method)
    assert_untouched(network, before)
    alone = torch.cat([unit_map(network, x[n : n + 1], layer, units[n : n + 1], method) for n in range(3)])
    torch.testing.assert_close(maps, alone, atol=1e-6, rtol=1e-4)


def test_what_moves_no_unit_is_zero():
    network, x = small_network(), small_batch(2).image
    with torch.no_grad():
        network.backbone.bn2.bias[3] = -1e3
    for method in UNIT_METHODS:
        assert not unit_map(network, x, layer_of(network, "relu2"), torch.tensor([3, 3]), method).any()


@pytest.mark.parametrize(
    ("layer", "method", "message"),
    [
        ("relu2", "cam", "method must be one of gradient, gradcam, lrp, got 'cam'"),
        ("fc", "gradcam", "gradcam: layer fc:input must return maps"),
        ("conv2:input", "gradcam", "gradcam: the units of layer conv2:input are what it reads"),
    ],
)
def test_what_does_not_fit_is_refused(layer, method, message):
    network, x = small_network(), small_batch(1).image
    with pytest.raises(ValueError, match=message):
        unit_map(network, x, layer_of(network, layer), torch.tensor([0]), method)
