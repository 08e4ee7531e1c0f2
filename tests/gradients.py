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


def assert_same_gradients(network, total, expected, expected_gradients):
    """In float64: the loss, and its gradients by all parameters in their order."""
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-9)
    total.backward(inputs=list(network.parameters()))
    assert any(gradient.abs().max() > 1e-3 for gradient in expected_gradients)
    for (name, parameter), gradient in zip(network.named_parameters(), expected_gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-9, msg=name)


def start_of(objective, batch, epoch=0):
    """By how much an objective's attack moves the images before its first step."""
    keys, threat = objective.keys(batch, epoch), objective.attack.threat
    return threat.random_start(batch.image, threat.budget.radius(keys, torch.float64), keys) - batch.image
