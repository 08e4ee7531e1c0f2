"""What the tests of objectives that make explanations robust share: a small network in float64, and equal gradients."""

import torch
from helpers import small_batch, small_network

from lightning_advinterp.attacks import AttackConfig

EPS, STEP = 8 / 255, 3 / 255
PGD = AttackConfig("pgd", EPS, steps=3, step_size=STEP)
PATH = {"attack": PGD, "path_steps": 4, "attack_path_steps": 2}
SIZE = 4
PIXELS = 3 * SIZE * SIZE


def network_and_batch(n=3):
    return small_network().double().train(), small_batch(n=n, size=SIZE, dtype=torch.float64)


def gradients(network, total):
    network.zero_grad()
    total.backward(inputs=list(network.parameters()))
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in network.named_parameters()}


def assert_same(network, ours, theirs, atol=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)
    actual, expected = gradients(network, ours), gradients(network, theirs)
    assert any(value.abs().max() > 1e-3 for value in actual.values())
    for name, value in actual.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=atol, msg=name)
