"""Terms that make explanations robust, against dense Hessians and literal loops, gradients included."""

import copy
import math

import pytest
import torch
from explanation_terms import EPS, PATH, PGD, PIXELS, STEP, network_and_batch
from gradients import assert_same
from reference import explanation_robustness as literal
from torch.nn import functional as F

from lightning_advinterp.metrics import hessian as hessian_module
from lightning_advinterp.objectives import HessianNorm, IGNorm, IGSumNorm


@pytest.fixture
def every_direction(monkeypatch):
    """√D times each unit vector in the place of the random probes: D of them make the estimate exact."""
    drawn = []

    def unit_vectors(keys, shape, stream):
        v = torch.zeros(len(keys), *shape, dtype=torch.float64)
        v[:, len(drawn) % PIXELS] = math.sqrt(PIXELS)
        drawn.append(keys)
        return v

    monkeypatch.setattr(hessian_module, "normal", unit_vectors)
    return drawn


@pytest.mark.parametrize("bn", ["eval", "frozen"])
@pytest.mark.parametrize("output", ["logit", "softmax"])
def test_the_hessian_term_is_the_dense_hessian_s(every_direction, bn, output):
    network, batch = network_and_batch()
    objective = HessianNorm(0.3, softplus=3.0, probes=PIXELS, output=output, bn=bn)
    ours = objective(network, batch, epoch=0)

    def score(x):
        z = literal.small_forward(network, x, beta=3.0)
        return (z.softmax(1) if output == "softmax" else z).gather(1, batch.label[:, None])

    square = literal.squared_hessian_norm(score, batch.image)
    logits = literal.small_forward(network, batch.image, batch_statistics=bn != "frozen")
    assert_same(network, ours.total, F.cross_entropy(logits, batch.label) + 0.3 * square)
    assert ours.parts["hessian_norm"].item() == pytest.approx(square.sqrt().item(), rel=1e-9)
    x = batch.image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(x).sum(), x)
    assert ours.parts["gradient_norm"].item() == pytest.approx((gradient.square().sum() / 3).sqrt().item(), rel=1e-9)
    assert len(every_direction) == PIXELS


def test_with_batch_statistics_it_is_the_whole_batch_s(monkeypatch):
    """Images that share statistics have one Hessian, with blocks between them; each probe is one vector of all."""
    network, batch = network_and_batch()
    drawn = []

    def unit_vectors(keys, shape, stream):
        v = torch.zeros(len(keys) * PIXELS, dtype=torch.float64)
        v[len(drawn)] = math.sqrt(len(v))
        drawn.append(keys)
        return v.view(len(keys), *shape)

    monkeypatch.setattr(hessian_module, "normal", unit_vectors)
    ours = HessianNorm(0.3, softplus=3.0, probes=3 * PIXELS)(network, batch, epoch=0)

    def score(x):
        return literal.small_forward(network, x, beta=3.0, batch_statistics=True).gather(1, batch.label[:, None])

    square = literal.squared_hessian_norm(score, batch.image)
    logits = literal.small_forward(network, batch.image, batch_statistics=True)
    assert_same(network, ours.total, F.cross_entropy(logits, batch.label) + 0.3 * square, atol=1e-8)
    assert len(drawn) == 3 * PIXELS


def test_random_probes_are_unbiased():
    network, batch = network_and_batch()
    estimates = torch.stack(
        [HessianNorm(bn="frozen")(network, batch, epoch=e).parts["hessian_norm"] for e in range(300)]
    )

    def score(x):
        return literal.small_forward(network, x, beta=10.0).gather(1, batch.label[:, None])

    exact, squares = literal.squared_hessian_norm(score, batch.image).item(), estimates.square()
    error = (squares.std() / math.sqrt(len(squares))).item()
    assert abs(squares.mean().item() - exact) < 4 * error
    assert error < 0.1 * exact


def test_more_probes_narrow_the_estimate():
    network, batch = network_and_batch()
    spread = [
        torch.stack([HessianNorm(probes=n)(network, batch, epoch=e).parts["hessian_norm"] for e in range(20)]).std()
        for n in (1, 16)
    ]
    assert spread[1] < spread[0] / 2


def literal_ig_norm(network, batch, objective, weight, loss_weight, batch_statistics):
    """x*, Σ‖IG‖₁ / B, from the starting point that the objective draws."""
    x, label = batch.image, batch.label
    keys = objective.keys(batch, 2)
    threat = objective.attack.threat
    start = threat.random_start(x, threat.budget.radius(keys, x.dtype), keys)

    def loss(z):
        logits = literal.small_forward(network, z, batch_statistics=batch_statistics)
        return F.cross_entropy(logits, label, reduction="sum")

    def climbed(x_adv):
        norm = literal.integrated_gradients(loss, x, x_adv, PATH["attack_path_steps"]).abs().sum()
        return (loss(x_adv) if loss_weight else 0) + weight * norm

    x_adv = literal.attack(climbed, x, start, EPS, 3, STEP)
    return x_adv, literal.integrated_gradients(loss, x, x_adv, PATH["path_steps"]).abs().sum() / len(x)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("bn", ["train", "frozen"])
@pytest.mark.parametrize("kind", [IGNorm, IGSumNorm])
def test_the_ig_norm_is_the_authors(kind, bn, recompute):
    network, batch = network_and_batch()
    objective = kind(0.7, **PATH, bn=bn, recompute=recompute)
    objective.seed = 5
    ours = objective(network, batch, epoch=2)
    train = bn == "train"
    x_adv, norm = literal_ig_norm(network, batch, objective, 0.7, kind is IGSumNorm, train)
    assert (x_adv - batch.image).abs().max().item() == pytest.approx(EPS)
    at = x_adv if kind is IGSumNorm else batch.image
    logits = literal.small_forward(network, at, batch_statistics=train)
    assert_same(network, ours.total, F.cross_entropy(logits, batch.label) + 0.7 * norm)
    assert ours.parts["ig_norm"].item() == pytest.approx(norm.item(), rel=1e-9)


def test_ig_with_running_statistics():
    """bn: eval: attack and term by the running statistics, which the loss's own pass moves in between."""
    network, batch = network_and_batch()
    before, objective = copy.deepcopy(network), IGNorm(0.7, **PATH, bn="eval")
    ours = objective(network, batch, epoch=2)
    x_adv, _ = literal_ig_norm(before, batch, objective, 0.7, False, False)

    def loss(z):
        return F.cross_entropy(literal.small_forward(network, z), batch.label, reduction="sum")

    norm = literal.integrated_gradients(loss, batch.image, x_adv, 4).abs().sum() / 3
    logits = literal.small_forward(network, batch.image, batch_statistics=True)
    assert_same(network, ours.total, F.cross_entropy(logits, batch.label) + 0.7 * norm)


def test_softplus_in_the_path_and_an_attack_on_the_loss():
    network, batch = network_and_batch()
    objective = IGNorm(0.7, attack=PGD, maximise="loss", path_steps=5, softplus=4.0, bn="frozen")
    ours = objective(network, batch, epoch=2)
    network.eval()
    x_adv = objective.attack(network, batch.image, batch.label, keys=objective.keys(batch, 2))

    def loss(z):
        return F.cross_entropy(literal.small_forward(network, z, beta=4.0), batch.label, reduction="sum")

    norm = literal.integrated_gradients(loss, batch.image, x_adv, 5).abs().sum() / 3
    logits = literal.small_forward(network, batch.image)
    assert_same(network, ours.total, F.cross_entropy(logits, batch.label) + 0.7 * norm)


def test_its_own_attack_makes_the_norm_larger():
    network, batch = network_and_batch(n=7)
    norms = [
        IGNorm(attack=PGD, maximise=maximise, path_steps=20, bn="frozen")(network, batch, epoch=0).parts["ig_norm"]
        for maximise in ("term", "loss")
    ]
    untouched = IGNorm(**PATH, eps_warmup_epochs=2, bn="frozen")(network, batch, epoch=0)
    assert norms[0] > norms[1] > 0
    assert untouched.parts["ig_norm"] == 0  # ε is 0 in the first epoch of a warm-up
