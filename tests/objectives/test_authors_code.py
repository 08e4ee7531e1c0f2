"""Fast, Free and TRADES against literal transcriptions of their authors' code: losses, gradients, several steps."""

import copy

import pytest
import torch
from gradients import assert_same_gradients, start_of
from helpers import interior_batch, small_batch, small_network
from reference.fast import fast_loss
from reference.free import free_training
from reference.trades import trades_loss as literal_trades
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.objectives import Consistency, Fast, Free, Madry, Trades

EPS = 8 / 255


def assert_same_step(network, ours, twin, theirs):
    theirs.backward(inputs=list(twin.parameters()))
    assert_same_gradients(network, ours, theirs, [parameter.grad for parameter in twin.parameters()])


@pytest.mark.parametrize("settings", [{}, {"steps": 3, "step_size": 0.02}])
def test_trades_is_the_authors_code(settings):
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    objective = Trades(AttackConfig("trades", 0.031, **settings), beta=6.0 if not settings else 1.5)
    start = start_of(objective, batch, epoch=2)
    assert 5e-4 < start.std() < 2e-3
    steps, size = settings.get("steps", 10), settings.get("step_size", 0.007)
    theirs = literal_trades(twin, batch.image, batch.label, start, size, 0.031, steps, objective.beta)
    ours = objective(network, batch, epoch=2)
    assert ours.parts["kl"] > 0
    torch.testing.assert_close(ours.parts["loss_clean"] + objective.beta * ours.parts["kl"], ours.total.detach())
    assert_same_step(network, ours.total, twin, theirs)


def test_consistency_with_trades_is_the_sum_of_both():
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    objective = Consistency(AttackConfig("trades", 0.031), trades_beta=6.0, weight=0.5, alpha=0.9, bn="eval")
    x_adv = objective.attack(twin, batch.image, batch.label, keys=objective.keys(batch, 1))
    theirs = Trades()(twin, batch, epoch=1).total  # its passes move the running statistics that the attack uses
    clean, adversarial = (twin.forward_features(x, ["phi"])[1]["phi"] for x in (batch.image, x_adv))
    theirs = theirs + 0.5 * (clean - adversarial).square().flatten(1).mean(1).mean()
    ours = objective(network, batch, epoch=1)
    assert {"kl", "consistency", "loss_clean", "loss_adv"} <= set(ours.parts)
    assert_same_step(network, ours.total, twin, theirs)


@pytest.mark.parametrize("inner", ["pgd", "fgsm_rs", "nfgsm", "trades"])
@pytest.mark.parametrize("bn", ["train", "eval"])
def test_consistency_takes_any_inner_attack(inner, bn):
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    objective = Consistency(AttackConfig(inner), bn=bn)
    x_adv = objective.attack(twin, batch.image, batch.label, keys=objective.keys(batch, 0))
    assert (x_adv != batch.image).any()
    z, clean = twin.forward_features(batch.image, ["phi"])
    z_adv, adversarial = twin.forward_features(x_adv, ["phi"])
    theirs = 0.5 * F.cross_entropy(z, batch.label) + 0.5 * F.cross_entropy(z_adv, batch.label)
    theirs = theirs + (clean["phi"] - adversarial["phi"]).square().flatten(1).mean(1).mean()
    assert_same_step(network, objective(network, batch, epoch=0).total, twin, theirs)


def test_fast_is_the_authors_code():
    network, batch = small_network().double().train(), small_batch(dtype=torch.float64)
    twin = copy.deepcopy(network)
    objective = Fast()
    start = start_of(objective, batch)
    assert start.abs().max() <= EPS
    theirs = fast_loss(twin, batch.image, batch.label, start, EPS, 10 / 255)
    assert_same_step(network, objective(network, batch, epoch=0).total, twin, theirs)


def test_fast_with_nfgsm_steps_from_strong_noise_without_clipping():
    network, batch = small_network().double().train(), interior_batch()
    twin = copy.deepcopy(network)
    objective = Fast(AttackConfig("nfgsm", EPS))
    noisy = (batch.image + start_of(objective, batch)).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(twin(noisy), batch.label), noisy)
    x_adv = (noisy.detach() + EPS * gradient.sign()).clamp(0, 1)
    assert (x_adv - batch.image).abs().max() > 2 * EPS
    theirs = F.cross_entropy(twin(x_adv), batch.label)
    assert_same_step(network, objective(network, batch, epoch=0).total, twin, theirs)
    assert isinstance(objective, Madry)


@pytest.mark.parametrize("step", [None, 3 / 255])
def test_free_is_the_authors_loop(step):
    """Four batches (one of them shorter) of three replays: losses, perturbation and weights after every step."""
    network, lr = small_network().double().train(), 0.05
    twin = copy.deepcopy(network)
    batches = [small_batch(n, seed=seed, dtype=torch.float64) for seed, n in enumerate((5, 7, 4, 7))]
    objective = Free(EPS, step)
    pairs = [(batch.image, batch.label) for batch in batches]
    losses, noises = free_training(twin, pairs, 3, EPS, EPS if step is None else step, lr, batch_size=7)
    for number, (loss, noise) in enumerate(zip(losses, noises, strict=True)):
        ours = objective(network, batches[number // 3], epoch=0)
        ours.total.backward(inputs=[*network.parameters(), *ours.inputs])
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= lr * parameter.grad
        network.zero_grad()
        torch.testing.assert_close(ours.total.detach(), loss, rtol=0, atol=1e-9)
        delta = objective.state_dict()["delta"]
        torch.testing.assert_close(delta, noise[: len(delta)], rtol=0, atol=1e-9)
        assert not noise[len(delta) :].any()
    for our_parameter, their_parameter in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(our_parameter, their_parameter, rtol=0, atol=1e-9)
    assert len(delta) == 7
    assert delta.abs().max() == EPS


def test_free_moves_the_perturbation_in_the_backward_pass_alone():
    network, batch, objective = small_network().train(), small_batch(), Free()
    loss = objective(network, batch, epoch=0)
    assert not objective.state_dict()["delta"].any()
    loss.total.backward(inputs=[*network.parameters(), *loss.inputs])
    assert objective.state_dict()["delta"].any()


def test_free_starts_anew_at_another_image_size_and_survives_an_overflow():
    network, objective = small_network().train(), Free()
    objective(network, small_batch(), epoch=0).total.backward()
    loss = objective(network, small_batch(size=12), epoch=0)
    assert objective.state_dict()["delta"].shape == (7, 3, 12, 12)
    (loss.total * float("nan")).backward()
    assert not objective.state_dict()["delta"].any()
    loss.total.detach_()
    restored = Free()
    restored.load_state_dict({"delta": torch.full((7, 3, 12, 12), 0.01)})
    assert restored.state_dict()["delta"].mean() == pytest.approx(0.01)
    restored.load_state_dict({})
    assert restored.state_dict() == {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Free(8), 'eps is a fraction .* write "8/255"'),
        (lambda: Free(step_size=-1), "step_size must be a finite number, 0 or more, got -1"),
        (lambda: Trades(beta=-1), "beta must be 0 or more, got -1"),
        (lambda: Consistency(trades_beta=-6), "trades_beta must be 0 or more, or null for Eq. 8, got -6"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
