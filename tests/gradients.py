"""Comparison of two losses by the gradients of all parameters."""

import torch


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
