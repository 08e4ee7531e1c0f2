"""Networks that are built once: tests must leave them as they found them."""

import functools

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_advinterp.networks import create_network


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Many small operations: threads that wait for each other cost up to ten times the work itself."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def _build(name, **options):
    torch.manual_seed(0)
    network = create_network(name, num_classes=10, **options).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2)
                if module.affine:
                    module.bias.normal_(std=0.3)
    return network


@pytest.fixture(scope="session")
def build():
    """A function from a name to a network in eval mode whose normalisations do something."""
    return _build
