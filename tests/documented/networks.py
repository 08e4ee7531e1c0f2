"""Small networks in the place of large ones, and weights with which they tell the inputs' classes apart."""

from pathlib import Path

import torch
from torch import nn

from lightning_advinterp.networks import create_network

MY_NETS = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes=1000, blocks=1):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(blocks)))
        self.conv2, self.relu = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.fc(self.relu(self.conv2(self.blocks(self.conv1(x)))).mean((2, 3)))
"""
"""The file that a reader of the pages writes."""


class SmallVGG(nn.Sequential):
    """A VGG of two convolutions."""

    def __init__(self, num_classes=1000):
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes),
        )  # fmt: skip


def network_that_is_right(name, images, labels, **options):
    """Return a random network whose last layer is set so that it predicts these labels of these images.

    Args:
        name: as ``--network`` names it.
        images: ``[B, 3, H, W]`` in [0, 1].
        labels: ``[B]``.
        options: of :func:`create_network`.
    """
    torch.manual_seed(0)
    network = create_network(name, **options).eval()
    head = network.backbone.get_submodule(network.head) if network.head else None
    if not isinstance(head, nn.Linear):
        return network
    with torch.no_grad():
        phi = network.forward_features(images, ["penultimate"])[1]["penultimate"].flatten(1).double()
        centred = phi - phi.mean(0)
        goal = 8.0 * nn.functional.one_hot(labels, head.out_features).double()
        weight = torch.linalg.lstsq(centred, goal).solution.T
        head.weight.copy_(weight)
        head.bias.copy_(-(weight @ phi.mean(0)))
    return network


def write_weights(path: Path, network) -> Path:
    """Write the weights alone, as a file of another program."""
    torch.save(network.backbone.state_dict(), path)
    return path
