"""Small networks and batches that tests share."""

import math

import torch
from torch import nn
from torch.utils.data import Dataset

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks import Network


class SmallBackbone(nn.Module):
    """Two convolutions with BatchNorm, dropout and a linear head: everything an attack must leave alone."""

    def __init__(self, num_classes=5, dropout=0.0):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.fc(self.dropout(x.mean((2, 3))))


def small_network(num_classes=5, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    network = Network(
        SmallBackbone(num_classes, dropout),
        name="small",
        num_classes=num_classes,
        input_size=16,
        phi="relu2",
        head="fc",
    )
    with torch.no_grad():
        for bn in (network.backbone.bn1, network.backbone.bn2):
            bn.running_mean.normal_()
            bn.running_var.uniform_(0.5, 2)
    return network.eval()


class PooledLinear(nn.Module):
    """A linear classifier of 8 x 8 pixels, for images of any size; loaded by its class path."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(8), nn.Linear(192, num_classes)

    def forward(self, x):
        return self.fc(self.pool(x).flatten(1))


def linear_network(scale=0.3, num_classes=10, values=3 * 16 * 16, seed=0):
    """A linear classifier in float64 that every class can be reached from; grey is where all logits are 0."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(values, num_classes)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        weight = scale * torch.randn(num_classes, values, generator=generator, dtype=torch.float64)
        network[1].weight.copy_(weight)
        network[1].bias.copy_(-weight.sum(1) / 2)
    return network


def small_batch(n=7, size=16, num_classes=5, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(n, 3, size, size, generator=generator, dtype=dtype)
    image[0, :, 0, 0], image[0, :, 0, 1] = 0.0, 1.0  # the box's edges
    return Batch(image, torch.randint(0, num_classes, (n,), generator=generator), torch.arange(n) + 40)


def interior_batch(n=7, seed=1):
    """Images in float64 away from 0 and 1, where no start is clipped."""
    image, label, index = small_batch(n, seed=seed, dtype=torch.float64)
    return Batch(0.1 + 0.8 * image, label, index)


def fingerprint(network):
    """Everything of a network that an attack or an analysis must not change."""
    return (
        {key: value.clone() for key, value in network.state_dict().items()},
        {name: module.training for name, module in network.named_modules()},
        {name: (p.requires_grad, None if p.grad is None else p.grad.clone()) for name, p in network.named_parameters()},
        {name: getattr(module, "track_running_stats", None) for name, module in network.named_modules()},
    )


def assert_untouched(network, before):
    state, modes, gradients, tracking = fingerprint(network)
    assert state.keys() == before[0].keys()
    assert all(torch.equal(state[key], before[0][key]) for key in state)
    assert modes == before[1]
    assert tracking == before[3]
    for name, (requires_grad, grad) in gradients.items():
        assert requires_grad == before[2][name][0]
        assert (grad is None) == (before[2][name][1] is None)
        assert grad is None or torch.equal(grad, before[2][name][1])


class Memory(Dataset):
    """A batch as a data set; ``fails_at`` breaks the reading of one image, ``readings`` all but the first so many."""

    def __init__(self, batch, fails_at=None, readings=math.inf):
        self.batch, self.fails_at, self.readings = batch, fails_at, readings

    def __len__(self):
        return len(self.batch.label)

    def __getitem__(self, index):
        self.readings -= 1
        if index == self.fails_at or self.readings < 0:
            raise OSError("power cut")
        return Batch(*(field[index] for field in self.batch))
