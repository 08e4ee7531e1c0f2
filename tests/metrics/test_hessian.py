"""Curvature in closed form: quadrics, spheres, a softplus unit; and against autograd's dense Hessian."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.metrics.hessian import (
    Hessian,
    frobenius_norm,
    largest_eigenvalue,
    smoothgrad_sigma,
    squared_frobenius_norm,
)

KEYS = sample_keys(torch.arange(2))


def quadric(seed=0, size=12):
    """z(x) = xᵀA x/2 + bᵀx on images of 12 values, another A for every sample."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    a, b = a + a.mT, torch.randn(2, size, generator=generator, dtype=torch.float64)

    def score(x):
        flat = x.flatten(1)
        return torch.einsum("bi,bij,bj->b", flat, a, flat) / 2 + (b * flat).sum(1)

    return a, b, score, torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64)


def test_a_quadric_has_its_matrix():
    a, b, score, x = quadric()
    hessian = Hessian(score, x)
    flat = x.flatten(1)
    torch.testing.assert_close(hessian.gradient, torch.einsum("bij,bj->bi", a, flat) + b)
    v = torch.randn(2, 12, dtype=torch.float64)
    torch.testing.assert_close(hessian(v), torch.einsum("bij,bj->bi", a, v))
    values, vectors = torch.linalg.eigh(a)
    which = values.abs().argmax(1)
    largest = largest_eigenvalue(hessian, hessian.gradient, KEYS, steps=12)
    torch.testing.assert_close(largest.value, values[torch.arange(2), which], rtol=1e-10, atol=1e-10)
    cosine = (largest.vector * vectors[torch.arange(2), :, which]).sum(1).abs()
    torch.testing.assert_close(cosine, torch.ones(2, dtype=torch.float64), rtol=1e-9, atol=0)
    assert largest.residual.max() < 1e-8


def test_opposite_eigenvalues_of_equal_size_do_not_stall_it():
    def score(x):
        return x.flatten(1)[:, 0].square() - x.flatten(1)[:, 1].square()

    hessian = Hessian(score, torch.randn(2, 1, 4, 4, dtype=torch.float64))
    largest = largest_eigenvalue(hessian, hessian.gradient, KEYS, steps=10)
    torch.testing.assert_close(largest.value.abs(), torch.full((2,), 2.0, dtype=torch.float64))
    assert largest.residual.max() < 1e-8


def test_too_few_steps_say_so_in_the_residual():
    *_, score, x = quadric()
    hessian = Hessian(score, x)
    assert largest_eigenvalue(hessian, hessian.gradient, KEYS, steps=2).residual.max() > 0.1


def test_the_frobenius_norm_within_its_standard_error():
    a, _, score, x = quadric()
    hessian = Hessian(score, x)
    norm, error = frobenius_norm(hessian, hessian.gradient, KEYS, probes=256)
    exact = a.square().sum((1, 2)).sqrt()
    assert ((norm - exact).abs() < 4 * error).all()
    assert (error < 0.05 * exact).all()
    fewer = frobenius_norm(hessian, hessian.gradient, KEYS, probes=16)[1]
    assert (fewer > error).all()


def test_the_squared_norm_is_the_mean_of_the_same_probes_and_differentiable():
    a, _, score, x = quadric()
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    hessian = Hessian(lambda image: scale * score(image), x, create_graph=True)
    squares = squared_frobenius_norm(hessian, hessian.gradient, KEYS, probes=256)
    norm, error = frobenius_norm(hessian, hessian.gradient, KEYS, probes=256)
    torch.testing.assert_close(squares.detach(), norm.detach().square())
    assert ((squares.sqrt() - 2 * a.square().sum((1, 2)).sqrt()).abs() < 4 * error).all()
    (slope,) = torch.autograd.grad(squares.sum(), scale)
    torch.testing.assert_close(slope, squares.sum().detach())  # d(s² ‖A‖²)/ds = 2 s ‖A‖² at s = 2


@pytest.mark.parametrize("radius", [0.5, 4.0])
def test_a_sphere_has_the_curvature_of_its_radius(radius):
    """Level sets of ‖x‖² are spheres: all principal curvatures are 1/R."""
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    x = radius * x / x.flatten(1).norm(dim=1)[:, None, None, None]
    hessian = Hessian(lambda image: image.square().flatten(1).sum(1), x)
    largest = largest_eigenvalue(hessian.level_set(), hessian.gradient, KEYS)
    torch.testing.assert_close(largest.value, torch.full((2,), 1 / radius, dtype=torch.float64))
    assert (largest.vector * hessian.gradient).sum(1).abs().max() < 1e-8  # tangential


def test_a_hyperplane_and_a_linear_score_have_none():
    w = torch.randn(1, 12, dtype=torch.float64)
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    for score in (lambda image: (image.flatten(1) * w).sum(1), lambda image: (image.flatten(1) @ w.T).squeeze(1) ** 3):
        hessian = Hessian(score, x)
        largest = largest_eigenvalue(hessian.level_set(), hessian.gradient, KEYS)
        assert largest.value.abs().max() < 1e-9
    assert (
        largest_eigenvalue(Hessian(lambda image: (image.flatten(1) * w).sum(1), x), w.expand(2, -1), KEYS)
        .value.eq(0)
        .all()
    )


def test_a_softplus_unit_bends_by_its_derivative():
    """z = softplus_β(wᵀx): H = β σ(1 − σ) w wᵀ, whose eigenvalue and Frobenius norm are β σ(1 − σ) ‖w‖²."""
    beta, w = 3.0, torch.randn(12, dtype=torch.float64)
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    hessian = Hessian(lambda image: F.softplus(image.flatten(1) @ w, beta), x)
    share = torch.sigmoid(beta * (x.flatten(1) @ w))
    expected = beta * share * (1 - share) * w.square().sum()
    largest = largest_eigenvalue(hessian, hessian.gradient, KEYS, steps=5)
    torch.testing.assert_close(largest.value, expected)
    norm, error = frobenius_norm(hessian, hessian.gradient, KEYS)
    assert ((norm - expected).abs() < 4 * error).all()


def test_sigma_matches_softplus_at_zero():
    for beta in (0.8, 3.0):
        sigma = smoothgrad_sigma(beta)
        assert sigma / math.sqrt(2 * math.pi) == pytest.approx(math.log(2) / beta)  # E relu(σ ε) = softplus_β(0)
    assert smoothgrad_sigma(0.8) == pytest.approx(2.17, abs=5e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: largest_eigenvalue(h, h.gradient, KEYS, steps=0), "steps must be 1 or more"),
        (lambda h: frobenius_norm(h, h.gradient, KEYS, probes=1), "probes must be 2 or more"),
        (lambda h: squared_frobenius_norm(h, h.gradient, KEYS, probes=0), "probes must be 1 or more"),
        (lambda h: smoothgrad_sigma(0.0), "beta must be above 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    *_, score, x = quadric()
    with pytest.raises(ValueError, match=message):
        call(Hessian(score, x))
