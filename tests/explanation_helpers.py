"""Small networks for explanations, in float64: every kind of layer that propagation has a rule for."""

import torch
from torch import fx, nn

from lightning_advinterp.networks import Network


class Branches(nn.Module):
    """A stem with BatchNorm and overlapping max-pooling, a residual block, a concatenation, and an average."""

    def __init__(self, bias=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.conv2, self.bn2 = nn.Conv2d(5, 5, 3, padding=1, bias=bias), nn.BatchNorm2d(5)
        self.left, self.right = nn.Conv2d(5, 4, 1, bias=bias), nn.Conv2d(5, 3, 3, padding=1, bias=bias)
        self.relu = nn.ReLU()  # one module, many uses
        self.average, self.drop, self.fc = nn.AvgPool2d(2), nn.Dropout(0.5), nn.Linear(28, 4, bias=bias)

    def forward(self, x):
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.relu(self.bn2(self.conv2(x)) + x)
        x = torch.cat([self.relu(self.left(x)), torch.relu(self.right(x))], 1)
        return self.fc(self.drop(torch.flatten(self.average(x), 1)))


def plain():
    """A sequential network."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 7),
        nn.ReLU(),
        nn.Linear(7, 4),
    )


def wrap(body, seed=0, size=8):
    """A Network around a backbone, with BatchNorms that do something."""
    torch.manual_seed(seed)
    for module in body.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.reset_parameters()
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, std=0.2)
    network = Network(body, name="test", num_classes=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), input_size=size)
    return network.double().eval()


def batch(n=2, size=8, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, size, size, generator=generator, dtype=torch.float64), torch.arange(n) % 4


def without_biases(network):
    """Set all biases to zero; those of BatchNorm too."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    return network


def one_relu_per_use(body):
    """Captum's hooks need a module object for every use."""
    traced = fx.symbolic_trace(body)
    for number, node in enumerate(traced.graph.nodes):
        if node.op == "call_module" and isinstance(traced.get_submodule(node.target), nn.ReLU):
            traced.add_submodule(f"own_relu_{number}", nn.ReLU())
            node.target = f"own_relu_{number}"
    traced.recompile()
    return traced.eval()
