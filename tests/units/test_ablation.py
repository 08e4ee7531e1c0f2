"""Ablation of units against captum, against the closed form, and on a planted network."""

import pytest
import torch
from captum.attr import LayerFeatureAblation
from helpers import small_network
from torch import nn

from lightning_advinterp.networks import Network, create_network
from lightning_advinterp.networks.behind import Behind
from lightning_advinterp.networks.taps import taps
from lightning_advinterp.units.ablation import Ablation
from lightning_advinterp.units.maps import Layout


def ablation(network, layer, x, *, closed=True):
    behind = Behind(network, layer)
    return Ablation(behind, closed=closed), behind.begin(x)


def singles(count):
    return [[unit] for unit in range(count)]


def zeros(count):
    return torch.zeros(1, count, dtype=torch.float64)


@pytest.mark.parametrize("layer", ["relu1", "relu2"])
@pytest.mark.parametrize("closed", [True, False])
def test_equals_captum(layer, closed):
    network = small_network().double()
    x = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    remove, begun = ablation(network, layer, x, closed=closed)
    units, places = begun.activation.shape[1], begun.activation.shape[2:]
    mask = torch.arange(units)[None, :, None, None].expand(1, units, *places)
    oracle = LayerFeatureAblation(network, getattr(network.backbone, layer))
    for image in range(3):
        ablated = remove.logits(begun, image, singles(units), zeros(units))[:, 0]
        for target in range(5):
            expected = oracle.attribute(x[image : image + 1], target=target, layer_mask=mask)[0, :, 0, 0]
            assert torch.allclose(begun.logits[image, target] - ablated[:, target], expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 8), (4, 8, 8, 8), (1, 8)])
def test_the_closed_form_equals_ablation(shape):
    """Real and sampled baselines, single units and several at once."""
    network = small_network().double()
    x, baseline = torch.rand(2, 3, 16, 16, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
    formula, begun = ablation(network, "relu2", x)
    slow, _ = ablation(network, "relu2", x, closed=False)
    assert (formula.rest_passes, slow.rest_passes) == (0, 1)
    units = [*singles(8), [0, 3, 5], list(range(8)), []]
    for image in range(2):
        exact = slow.logits(begun, image, units, baseline)
        assert torch.allclose(formula.logits(begun, image, units, baseline), exact, atol=1e-12)
        assert torch.allclose(exact[-1], begun.logits[image].expand(len(baseline), -1))


@pytest.mark.parametrize("layer", ["layer4.1.bn2", "layer4.1.bn1", "layer3"])
def test_chunks_leave_no_trace(layer, monkeypatch):
    """Copies are used again, also where the network overwrites them (the sum of a residual block does)."""
    torch.manual_seed(0)
    network, x = create_network("resnet18", num_classes=4).eval().double(), torch.rand(1, 3, 32, 32).double()
    monkeypatch.setattr("lightning_advinterp.units.ablation._MOST", 3)
    remove, begun = ablation(network, layer, x)
    units = [[5], [0, 1], [7], [2], [511 % begun.activation.shape[1]], [5, 6, 7], [9]]
    ablated = remove.logits(begun, 0, units, torch.full((1, begun.activation.shape[1]), 0.25))
    for together, logits in zip(units, ablated[:, 0], strict=True):
        changed = begun.activation.clone()
        changed[:, together] = 0.25
        with torch.no_grad(), taps(network, replace={layer: changed}):
            assert torch.allclose(network(x)[0], logits, atol=1e-10)


def test_first_order_is_exact_where_the_rest_is_linear():
    network = small_network().double()
    x, baseline = torch.rand(2, 3, 16, 16, dtype=torch.float64), torch.rand(3, 8, dtype=torch.float64)
    remove, begun = ablation(network, "relu2", x)
    exact = begun.logits[1] - remove.logits(begun, 1, singles(8), baseline).mean(1)
    estimate = remove.first_order(begun, 1, torch.tensor([4, 0]), baseline)
    assert torch.allclose(estimate, exact[:, [4, 0]], atol=1e-12)


class Planted(nn.Module):
    """One unit decides; another is dead, and the rest say nothing."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 6, 1, bias=True), nn.ReLU(), nn.Linear(6, 3)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.conv.bias.zero_()
            self.conv.weight[5], self.conv.bias[5] = -1.0, -1.0  # never fires
            self.fc.weight.zero_()
            self.fc.weight[1, 2] = 7.0
            self.fc.bias.zero_()

    def forward(self, x):
        return self.fc(self.relu(self.conv(x)).amax((2, 3)))


def test_a_planted_network_is_traced_to_its_unit():
    network = Network(Planted(), name="planted", num_classes=3, input_size=4, phi="relu").eval()
    remove, begun = ablation(network, "relu", torch.rand(1, 3, 4, 4))
    assert remove.linear is None, "the largest place is no mean"
    change = begun.logits[0] - remove.logits(begun, 0, singles(6), torch.zeros(1, 6))[:, 0]
    assert change.nonzero().tolist() == [[2, 1]]


class Tokens(nn.Module):
    """Units are the last axis of tokens, and a class token comes first."""

    def __init__(self):
        super().__init__()
        self.mix, self.act, self.fc = nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.act(self.mix(x.flatten(2).transpose(1, 2)))[:, 0])


@pytest.mark.parametrize("shape", [(2, 4), (3, 16, 4)])
def test_units_of_tokens(shape):
    network = Network(Tokens(), name="tokens", num_classes=2, input_size=4).eval().double()
    x, baseline = torch.rand(2, 3, 4, 4).double(), torch.rand(shape).double()
    behind = Behind(network, "mix")
    remove, begun = Ablation(behind, Layout("tokens", (16, 4), 0, (4, 4))), behind.begin(x)
    assert remove.width(begun.activation[0]) == 4
    units = [[0], [3], [1, 2], []]
    ablated = remove.logits(begun, 1, units, baseline)
    for number, together in enumerate(units):
        for sample in range(len(baseline)):
            changed = begun.activation[1:].clone()
            changed[..., together] = baseline[sample][..., together]
            with torch.no_grad():
                expected = network.backbone.fc(network.backbone.act(changed)[:, 0])[0]
            assert torch.allclose(ablated[number, sample], expected, atol=1e-12)
    small = torch.zeros(1, 4).double()
    estimate = remove.first_order(begun, 1, torch.tensor([1]), small)
    leaf = begun.activation[1:].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network.backbone.fc(network.backbone.act(leaf)[:, 0])[0, 1], leaf)
    assert torch.allclose(estimate[:, 0], (gradient * leaf).sum((0, 1)), atol=1e-12)
