"""Semantic support against a literal loop."""

import math

import torch

from lightning_advinterp.metrics.semantics import nearness
from lightning_advinterp.metrics.support import semantic_support, strongest_weights, support_of


def literal(differences: list[float], near: list[list[float]], predicted: int, count: int) -> float:
    """The definition, one unit after another."""
    if predicted < 0:
        return math.nan
    units = [
        (-value, unit) for unit, value in enumerate(differences) if value > 0 and not math.isnan(near[unit][predicted])
    ]
    chosen = sorted(units)[:count]
    total = sum(-value for value, _ in chosen)
    if total == 0:
        return math.nan
    return sum(-value / total * near[unit][predicted] for value, unit in chosen)


def test_equals_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(30, 6, generator=generator, dtype=torch.float64)
    shares = shares / shares.sum(1, keepdim=True)
    shares[4] = torch.nan
    similarity = torch.eye(6, dtype=torch.float64) * 0.7 + 0.3
    near = nearness(shares, similarity)
    differences = torch.randn(9, 30, generator=generator, dtype=torch.float64).round(decimals=1)  # with ties
    differences[3] = -differences[3].abs()
    differences[:, 4] = 5.0
    predicted = torch.tensor([0, 1, 2, 3, 4, 5, -1, 0, 1])
    for count in (1, 3, 10, 100):
        measured = semantic_support(differences, near, predicted, count)
        for row in range(9):
            expected = literal(differences[row].tolist(), near.tolist(), int(predicted[row]), count)
            value = float(measured[row])
            assert value == expected or abs(value - expected) < 1e-12 or (math.isnan(value) and math.isnan(expected))
    assert math.isnan(float(semantic_support(differences, near, predicted)[3]))


def test_the_first_of_equal_units_is_taken() -> None:
    weights = strongest_weights(torch.tensor([[1.0, 2.0, 1.0, 1.0]]), 2)
    assert torch.equal(weights, torch.tensor([[1 / 3, 2 / 3, 0.0, 0.0]]))


def test_a_gradient_reaches_the_strongest_units() -> None:
    differences = torch.tensor([[3.0, 1.0, -1.0, 0.5]], requires_grad=True)
    near = torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    score = support_of(strongest_weights(differences, 2), near, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(score.sum(), differences)
    assert torch.allclose(gradient, torch.tensor([[1 / 16, -3 / 16, 0.0, 0.0]]))
