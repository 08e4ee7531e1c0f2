"""What lies behind a layer, against the whole network with the layer's output exchanged."""

import logging

import pytest
import torch
from helpers import small_network
from torch import nn

from lightning_advinterp.networks import Network, create_network
from lightning_advinterp.networks.behind import Behind
from lightning_advinterp.networks.taps import taps


def whole_with(network, layer, x, activation):
    with torch.no_grad(), taps(network, replace={layer: activation}):
        return network(x.expand(len(activation), -1, -1, -1))


class ByValue(nn.Module):
    """Cannot be traced: its way depends on its input."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        y = self.conv(x)
        return self.fc(y.mean((2, 3)) if y.sum() > 0 else -y.mean((2, 3)))


class ByBatch(nn.Module):
    """A trace keeps the size of the batch that began: the rest cannot be run with another."""

    def __init__(self):
        super().__init__()
        self.conv, self.after, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x):
        count = x.shape[0]
        return self.fc(self.after(self.conv(x)).view(count, 4, -1).mean(2))


class Unused(nn.Module):
    """A branch that leads nowhere."""

    def __init__(self):
        super().__init__()
        self.aside, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(3, 2)

    def forward(self, x):
        self.aside(x)
        return self.fc(x.mean((2, 3)))


class Overwriting(nn.Module):
    """The way around a block is overwritten behind the layer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

    def forward(self, x):
        around = self.conv1(x)
        inside = self.conv2(around)
        around += inside.relu()
        return self.fc(around.mean((2, 3)))


def wrapped(backbone, classes=2):
    torch.manual_seed(0)
    return Network(backbone, name="own", num_classes=classes, input_size=12).eval()


@pytest.mark.parametrize(
    ("name", "layer", "linear"),
    [
        ("resnet18", "layer4", True),
        ("resnet18", "layer3.1", False),
        ("resnet18", "layer4.1.bn1", False),  # inside a block: the way around it is carried
        ("resnet18", "layer4.1.bn2", False),  # the sum overwrites what it returns
        ("resnet18", "layer4.1.relu#0", False),
        ("resnet18", "layer3.0.downsample.1", False),
        ("alexnet", "features.11", False),
        ("mobilenet_v2", "features.18", True),
        ("timm/vit_tiny_patch16_224", "blocks.10", False),  # its forward has further arguments
    ],
)
def test_the_rest_gives_what_the_whole_gives(name, layer, linear):
    torch.manual_seed(1)
    options = {"img_size": 64} if "vit" in name else {}
    network, x = create_network(name, **options).eval(), torch.rand(2, 3, 64, 64)
    behind = Behind(network, layer)
    begun = behind.begin(x)
    assert behind.traced
    assert (behind.linear is not None) is linear
    expected, features = network.forward_features(x, [layer])
    assert torch.equal(begun.activation, features[layer])
    assert torch.equal(begun.logits, expected)
    changed = torch.randn(3, *begun.activation.shape[1:])
    assert torch.equal(behind.logits(begun, 1, changed.clone()), whole_with(network, layer, x[1:], changed))


@pytest.mark.parametrize(("backbone", "layer"), [(ByValue(), "conv"), (ByBatch(), "conv")])
def test_what_cannot_be_run_from_a_layer_on_runs_whole(backbone, layer, caplog):
    network, x = wrapped(backbone), torch.rand(2, 3, 12, 12)
    behind = Behind(network, layer)
    with caplog.at_level(logging.WARNING):
        begun = behind.begin(x)
    changed = torch.randn(5, *begun.activation.shape[1:])
    assert torch.allclose(behind.logits(begun, 1, changed), whole_with(network, layer, x[1:], changed))
    assert not behind.traced
    assert behind.linear is None


def test_the_way_around_a_block_may_be_overwritten():
    network, x = wrapped(Overwriting()), torch.rand(2, 3, 12, 12)
    behind = Behind(network, "conv2")
    begun = behind.begin(x)
    changed = torch.randn(5, *begun.activation.shape[1:])
    for _ in range(2):
        assert torch.allclose(behind.logits(begun, 1, changed.clone()), whole_with(network, "conv2", x[1:], changed))
    assert behind.traced


def test_a_layer_that_leads_nowhere_is_refused():
    with pytest.raises(ValueError, match="'aside' of own does not lead to the logits"):
        Behind(wrapped(Unused()), "aside")
    with pytest.raises(ValueError, match="layer must be a module path"):
        Behind(wrapped(Unused()), "nowhere")


def test_the_input_of_the_last_layer():
    network, x = small_network(), torch.rand(2, 3, 16, 16)
    behind = Behind(network, "penultimate")
    begun = behind.begin(x)
    assert begun.activation.shape == (2, 8)
    changed = torch.randn(3, 8)
    assert torch.allclose(behind.logits(begun, 0, changed), network.backbone.fc(changed))


@pytest.mark.parametrize(
    ("name", "layer", "traced"),
    [
        ("resnet18", "layer4.1:input", True),  # its shortcut begins inside the block
        ("resnet18", "layer3:input", True),
        ("resnet18", "layer4.1.conv2:input", True),
        ("resnet18", "layer4.1.conv1:input", False),  # the shortcut reads it, too
        ("timm/vit_tiny_patch16_224", "blocks.10.norm2:input", False),
        ("timm/vit_tiny_patch16_224", "blocks.10:input", True),
        ("timm/vit_tiny_patch16_224", "blocks.10.attn:head1", True),
    ],
)
def test_the_input_of_a_module(name, layer, traced):
    torch.manual_seed(1)
    options = {"img_size": 64} if "vit" in name else {}
    network, x = create_network(name, **options).eval(), torch.rand(2, 3, 64, 64)
    behind = Behind(network, layer)
    begun = behind.begin(x)
    assert behind.traced is traced
    assert torch.equal(begun.activation, network.forward_features(x, [layer])[1][layer])
    changed = torch.randn(3, *begun.activation.shape[1:])
    logits = behind.logits(begun, 1, changed.clone())
    assert torch.equal(logits, whole_with(network, layer, x[1:], changed))
    assert not torch.allclose(logits, begun.logits[1:], rtol=1e-2, atol=1e-2)
