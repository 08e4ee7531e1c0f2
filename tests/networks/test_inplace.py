"""Activations in place: set out of place, but where that would make another network of it."""

import copy

import pytest
import torch
from helpers import assert_untouched, fingerprint
from torch import nn

from lightning_advinterp.explanations import DeepLift
from lightning_advinterp.networks import Network, create_network


class PreActivation(nn.Module):
    """A block whose shortcut reads what its first activation has overwritten."""

    def __init__(self, zero=False):
        super().__init__()
        self.first, self.second = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        if zero:
            nn.init.zeros_(self.conv2.weight)
            nn.init.zeros_(self.conv2.bias)

    def forward(self, x):
        return x + self.conv2(self.second(self.conv1(self.first(x))))


class Chain(nn.Module):
    """What the first activation overwrites the second one overwrites again, before it is read."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LeakyReLU(0.5, inplace=True), nn.LeakyReLU(0.5, inplace=True)

    def forward(self, x):
        return x + self.second(self.first(x))


class Overwritten(nn.Module):
    """What the last activation overwrites is another activation's output."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LeakyReLU(0.5, inplace=True), nn.Hardtanh(-0.1, 0.1, inplace=True)

    def forward(self, x):
        y = self.first(x)
        return y + self.second(y)


def classifier(*blocks):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)).eval()


def in_place(network):
    return [name for name, part in network.backbone.named_modules() if getattr(part, "inplace", False)]


@pytest.mark.parametrize(
    ("blocks", "remaining"),
    [
        ([PreActivation, PreActivation], ["1.first", "2.first"]),
        ([lambda: PreActivation(zero=True)], ["1.first"]),
        ([Chain], ["1.first", "1.second"]),
        ([Overwritten], ["1.second"]),
        ([lambda: nn.ReLU(inplace=True), lambda: nn.Dropout(0.5, inplace=True)], []),
    ],
)
def test_a_network_computes_what_its_backbone_does(blocks, remaining):
    backbone, x = classifier(*(block() for block in blocks)), torch.rand(2, 3, 16, 16)
    expected = copy.deepcopy(backbone)(x)
    state = torch.get_rng_state()
    network = Network(backbone, name="x", num_classes=5, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert in_place(network) == remaining
    assert torch.equal(network(x), expected)


def test_the_backbone_is_left_as_it_was_but_for_that():
    backbone = classifier(PreActivation()).train()
    before = fingerprint(backbone)
    network = Network(backbone, name="x", num_classes=5)
    assert_untouched(network.backbone, before)
    assert not any(part._forward_hooks for part in backbone.modules())


def test_a_backbone_that_cannot_be_run_is_left_alone():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.act(x.view(len(x), 7, -1)[..., :5].mean(1))

    network = Network(Wide(), name="wide", num_classes=5, input_size=16)
    assert in_place(network) == ["act"]


def test_images_that_are_too_small_are_no_obstacle():
    backbone = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(3 * 160 * 160, 5))
    assert not in_place(Network(backbone, name="x", num_classes=5, input_size=160))


def test_propagation_refuses_what_stays_in_place():
    network = Network(classifier(PreActivation()), name="x", num_classes=5)
    with pytest.raises(ValueError, match="computes something else"):
        DeepLift().explain(network, torch.rand(1, 3, 16, 16), torch.tensor([1]))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "mobilenet_v2", "timm/resnetv2_50"])
def test_known_networks_work_out_of_place(name):
    assert not in_place(create_network(name, num_classes=3))
