"""MART, AWP and GradAlign against literal transcriptions of their authors' code, alone and on other objectives."""

import copy

import pytest
import torch
from gradients import assert_same_gradients, start_of
from helpers import interior_batch, small_network
from reference.awp import awp_gradients
from reference.grad_align import grad_align_term
from reference.mart import mart_loss as literal_mart
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.core.randomness import uniform
from lightning_advinterp.objectives import (
    AWP,
    Consistency,
    Fast,
    Free,
    GradAlign,
    HessianNorm,
    Kurakin,
    Madry,
    Mart,
    Trades,
    mart_loss,
)
from lightning_advinterp.objectives.grad_align import _NOISE_STREAM, gradient_alignment
from lightning_advinterp.objectives.weight_perturbation import perturbations


def gradients_of(loss, network):
    return torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)


@pytest.mark.parametrize(("steps", "beta"), [(10, 5.0), (3, 1.5)])
def test_mart_is_the_authors_code(steps, beta):
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    objective = Mart(AttackConfig("pgd", "8/255", steps=steps, step_size="2/255"), beta=beta)
    start = start_of(objective, batch, epoch=1)
    loss = objective(network, batch, epoch=1)
    expected = literal_mart(twin, batch.image, batch.label, start, 2 / 255, 8 / 255, steps, beta)
    torch.testing.assert_close(loss.parts["loss_adv"] + beta * loss.parts["kl"], loss.total.detach())
    assert_same_gradients(network, loss.total, expected, gradients_of(expected, twin))


def test_mart_by_hand():
    """Two classes, p = (.5, .5) and p* = (.25, .75), y = 0: log 4 - log(1.0001 - .75) + β/2 · KL."""
    logits, attacked = torch.zeros(1, 2).double(), torch.tensor([[0.25, 0.75]]).double().log()
    total, divergence = mart_loss(logits, attacked, torch.tensor([0]), beta=2.0)
    kl = 0.5 * (torch.tensor(0.5 / 0.25).log() + torch.tensor(0.5 / 0.75).log())
    assert divergence.item() == pytest.approx(0.5 * kl.item(), abs=1e-6)
    assert total.item() == pytest.approx(1.3862944 - torch.tensor(0.2501).log().item() + kl.item(), abs=1e-6)


def test_consistency_with_mart_is_the_sum_of_both():
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    attack = AttackConfig("pgd", "8/255", steps=10, step_size="2/255")
    objective = Consistency(attack, mart_beta=5.0, weight=0.5, alpha=0.9, bn="eval")
    x_adv = objective.attack(twin, batch.image, batch.label, keys=objective.keys(batch, 1))
    expected = Mart()(twin, batch, epoch=1).total
    clean, adversarial = (twin.forward_features(x, ["phi"])[1]["phi"] for x in (batch.image, x_adv))
    expected = expected + 0.5 * (clean - adversarial).square().flatten(1).mean(1).mean()
    assert_same_gradients(network, objective(network, batch, epoch=1).total, expected, gradients_of(expected, twin))


@pytest.mark.parametrize("base", [Madry, Trades, Mart, Consistency, Fast])
def test_awp_is_the_authors_code(base):
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    objective = AWP(gamma=0.05, base=base())
    x_adv = objective.base.neighbours(network, batch, epoch=2)
    before = copy.deepcopy(dict(network.named_parameters()))
    expected, gradients = awp_gradients(twin, lambda at: objective.base.loss_at(at, batch, x_adv).total, 0.05)
    loss = objective(network, batch, epoch=2)
    assert loss.parts["awp_rise"] > 0
    assert_same_gradients(network, loss.total, expected, gradients)
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())
    for name, value in network.named_buffers():  # the proxy's pass leaves no trace in the running statistics
        torch.testing.assert_close(value, twin.get_buffer(name))


def test_awp_trains_like_the_authors_code():
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    objective = AWP(gamma=0.02, base=Madry(AttackConfig("pgd", "8/255", steps=2, step_size="4/255")))
    optimizers = [torch.optim.SGD(at.parameters(), lr=0.1, momentum=0.9) for at in (network, twin)]
    for epoch in range(3):
        x_adv = objective.base.neighbours(twin, batch, epoch=epoch)
        _, gradients = awp_gradients(twin, lambda at, x=x_adv: F.cross_entropy(at(x), batch.label), 0.02)
        for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizers[0].zero_grad()
        objective(network, batch, epoch=epoch).total.backward()
        for optimizer in optimizers:
            optimizer.step()
    for parameter, expected in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-9)


def test_no_weights_move_in_the_warm_up_or_by_nothing():
    network, batch = small_network().double().train(), interior_batch()
    plain = Madry()(network, batch, epoch=0).total
    for objective in (AWP(base=Madry(), warmup_epochs=1), AWP(gamma=0.0, base=Madry())):
        assert torch.equal(objective(network, batch, epoch=0).total, plain)
    assert not torch.equal(AWP(base=Madry(), warmup_epochs=1)(network, batch, epoch=1).total, plain)


def test_a_perturbation_has_its_layers_share():
    weights = {"a": torch.randn(3, 4), "b": torch.randn(2, 2)}
    moves = perturbations(weights, {"a": torch.randn(3, 4), "b": torch.zeros(2, 2)}, 0.1)
    torch.testing.assert_close(moves["a"].norm(), 0.1 * weights["a"].norm())
    assert moves["b"].eq(0).all()


@pytest.mark.parametrize("bn", ["train", "eval", "frozen"])
@pytest.mark.parametrize("base", [None, Consistency, AWP])
def test_grad_align_is_the_authors_code(bn, base):
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    objective = GradAlign(0.3, base=base and base(bn=bn), eps="4/255", bn=bn)
    draw = uniform(objective.keys(batch, 1), batch.image.shape[1:], stream=_NOISE_STREAM).double()
    loss = objective(network, batch, epoch=1)
    expected = objective.base(twin, batch, epoch=1).total
    plain = copy.deepcopy(twin).train(bn == "train")  # its running statistics have seen the base's passes
    term = grad_align_term(plain, batch.image, batch.label, 4 / 255 * (2 * draw - 1), 0.3)
    gradients = [
        first + second for first, second in zip(gradients_of(expected, twin), gradients_of(term, plain), strict=True)
    ]
    assert -1 < loss.parts["grad_alignment"] < 1
    assert_same_gradients(network, loss.total, expected + term, gradients)


def test_gradients_of_zero_are_left_out():
    first, second = torch.tensor([[1.0, 0], [0, 0], [1, 1]]), torch.tensor([[0.0, 1], [1, 1], [2, 2]])
    first.requires_grad_()
    alignment = gradient_alignment(first, second)
    assert alignment.item() == pytest.approx(0.5)
    (gradient,) = torch.autograd.grad(alignment, first)
    assert gradient.isfinite().all()
    assert gradient[1].eq(0).all()
    assert gradient_alignment(torch.zeros(2, 3), torch.ones(2, 3)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AWP(gamma=-1), "gamma must be a finite number, 0 or more, got -1"),
        (lambda: AWP(warmup_epochs=-1), "warmup_epochs must be 0 or more, got -1"),
        (lambda: AWP(base=Free()), "base: AWP takes an objective that makes adversarial images first.*got Free"),
        (lambda: AWP(base=Kurakin()), "the loss before and after the weights move .* got Kurakin"),
        (lambda: AWP(base=GradAlign()), "got GradAlign.*go around AWP"),
        (lambda: AWP(base=Madry(), bn="eval"), "bn is eval here and train in the base"),
        (lambda: GradAlign(weight=-0.1), "weight must be a finite number, 0 or more, got -0.1"),
        (lambda: GradAlign(eps=0), r"eps must be in \(0, 1\], got 0"),
        (lambda: Mart(beta=-1), "beta must be 0 or more, got -1"),
        (lambda: Consistency(mart_beta=-1), "mart_beta must be 0 or more, or null for Eq. 8, got -1"),
        (lambda: Consistency(trades_beta=6, mart_beta=5), "both replace Eq. 8"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("around", [AWP, GradAlign, HessianNorm])
def test_what_the_base_refuses_is_refused(around):
    """Before training: the base's layers are looked for in the network, however deep it stands."""
    with pytest.raises(ValueError, match="relu2"):
        around(base=Consistency(layers="relu3")).check(small_network())
