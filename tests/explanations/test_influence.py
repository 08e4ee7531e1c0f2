"""Influence functions against numpy's inverse, a logistic unit in closed form, and leave-one-out refits."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lightning_advinterp.explanations.influence import LastLayerInfluence


def fit(features, labels, classes, damping, extra=None):
    """The minimum of mean cross-entropy + extra·losses + damping/2 ‖θ‖², to machine precision."""
    theta = torch.zeros(classes, features.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    inputs = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    weights = torch.full((len(features),), 1 / len(features), dtype=torch.float64)
    weights = weights if extra is None else weights + extra
    optimizer = torch.optim.LBFGS(
        [theta], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        losses = F.cross_entropy(inputs @ theta.T, labels, reduction="none")
        value = (weights * losses).sum() + damping / 2 * theta.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return theta.detach()


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    labels = torch.arange(40) % 3
    centres = torch.randn(3, 4, dtype=torch.float64)
    features = centres[labels] + torch.randn(40, 4, dtype=torch.float64)
    test_labels = torch.tensor([0, 1, 2, 1])
    test = centres[test_labels] + torch.randn(4, 4, dtype=torch.float64)
    return features, labels, test, test_labels


def influence_of(task, damping=0.05):
    features, labels, _, _ = task
    theta = fit(features, labels, 3, damping)
    return theta, LastLayerInfluence(features, labels, theta[:, :-1], theta[:, -1], damping=damping)


@pytest.mark.parametrize("biased", [True, False])
def test_against_autograds_hessian_and_numpys_inverse(task, biased):
    features, labels, test, test_labels = task
    theta, influence = influence_of(task)
    if not biased:
        theta = theta[:, :-1]
        influence = LastLayerInfluence(features, labels, theta, damping=0.05)
        assert influence.directions(torch.zeros(4, 2, dtype=torch.int64)).shape == (4, 3, 4)

    def loss(flat, x, y):
        weights = flat.view_as(theta)
        return F.cross_entropy(x @ weights[:, :4].T + (weights[:, 4] if biased else 0), y)

    hessian = torch.autograd.functional.hessian(lambda flat: loss(flat, features, labels), theta.flatten())
    inverse = np.linalg.inv(hessian.numpy() + 0.05 * np.eye(theta.numel()))

    def gradient(x, y):
        flat = theta.flatten().requires_grad_()
        return torch.autograd.grad(loss(flat, x[None], y[None]), flat)[0].numpy()

    expected = [
        [-gradient(t, u) @ inverse @ gradient(x, y) for x, y in zip(features, labels, strict=True)]
        for t, u in zip(test, test_labels, strict=True)
    ]
    np.testing.assert_allclose(influence.influence(test, test_labels).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_it_is_the_derivative_of_a_refit(task):
    """dL(t)/dε where image i counts 1/N + ε, by central differences of refits; leaving i out is ε = −1/N."""
    features, labels, test, test_labels = task
    _, influence = influence_of(task)
    inputs = torch.cat([test, torch.ones(len(test), 1, dtype=torch.float64)], 1)

    def losses(i, epsilon):
        theta = fit(features, labels, 3, 0.05, epsilon * F.one_hot(torch.tensor(i), len(features)))
        return F.cross_entropy(inputs @ theta.T, test_labels, reduction="none")

    predicted = influence.influence(test, test_labels)
    full, step, left_out = losses(0, 0.0), 1e-4, []
    for i in range(len(features)):
        if i < 8:
            derivative = (losses(i, step) - losses(i, -step)) / (2 * step)
            torch.testing.assert_close(predicted[:, i], derivative, rtol=1e-3, atol=1e-5)
        left_out.append(losses(i, -1 / len(features)) - full)
    measured = torch.stack(left_out, 1)
    for t in range(len(test)):
        assert torch.corrcoef(torch.stack([measured[t], -predicted[t]]))[0, 1] > 0.98


def test_a_logistic_unit_in_closed_form():
    """One feature, two classes, θ = 0: p = 1/2, gradients (±1/2)(φ, 1), H = 1/4 [[1, -1], [-1, 1]] ⊗ mean φ̃φ̃ᵀ."""
    features, labels = torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1])
    influence = LastLayerInfluence(features, labels, torch.zeros(2, 1), torch.zeros(2), damping=0.5)
    # mean φ̃φ̃ᵀ = 1, so along (1, −1)/√2 the Hessian is 1/2, damped 1; gradients lie along it: length² = φ̃·φ̃/2
    scores = influence.influence(torch.tensor([[3.0]]), torch.tensor([0]))
    expected = [-(3 + 1) / 2, (-3 + 1) / 2]  # −(φ̃_t·φ̃_i)/2 for the same class, with the other sign for the other
    np.testing.assert_allclose(scores[0].numpy(), expected, rtol=1e-12)


def test_the_differentiable_sum_is_the_sum_and_has_its_gradient(task):
    _, _, test, test_labels = task
    _, influence = influence_of(task)
    chosen = influence.influence(test, test_labels).topk(3, dim=1).indices
    directions = influence.directions(chosen)
    summed = influence.summed(test, test_labels, directions)
    torch.testing.assert_close(summed, influence.influence(test, test_labels).gather(1, chosen).sum(1))
    x = test.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: influence.summed(z, test_labels, directions), (x,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"damping": 0.0}, "damping must be above 0"),
        ({"features": torch.zeros(4, 3)}, r"features must be \[N, 2\]"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "with N labels"),
        ({"weight": torch.zeros(1000, 20), "features": torch.zeros(4, 20)}, "21,000"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    arguments = {
        "features": torch.zeros(4, 2),
        "labels": torch.zeros(4, dtype=torch.int64),
        "weight": torch.zeros(3, 2),
        "bias": torch.zeros(len(change.get("weight", torch.zeros(3)))),
    }
    with pytest.raises(ValueError, match=message):
        LastLayerInfluence(**arguments | change)
