"""The attack on influence functions against finite differences and the paper's form."""

import pytest
import torch
from helpers import assert_untouched, fingerprint, linear_network, small_batch, small_network

from lightning_advinterp.attacks.explanation.influence import InfluenceAttack
from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.step import RandomSignStep, SignStep
from lightning_advinterp.attacks.loop.threat import Linf
from lightning_advinterp.explanations.influence import LastLayerInfluence
from lightning_advinterp.explanations.last_layer import fit_last_layer, penultimate

EPS = 8 / 255


@pytest.fixture(scope="module")
def task():
    network = small_network().double()
    training, test = (
        small_batch(n=20, size=6, seed=2, dtype=torch.float64),
        small_batch(n=3, size=6, dtype=torch.float64),
    )
    with torch.no_grad():
        features = penultimate(network, training.image)
    labels = training.label % 2
    weight, bias = fit_last_layer(features, labels, 2)
    return network, test.image, torch.tensor([0, 1, 0]), LastLayerInfluence(features, labels, weight, bias)


def attack_of(influence, step=SignStep(1.0, relative=True), **settings):  # noqa: B008
    return InfluenceAttack(Linf(Budget(EPS, EPS)), step, influence=influence, **settings)


def summed(task, x, strongest):
    """Σ_i I(i, t) over chosen training images, from the matrix of all influences."""
    network, _, y, influence = task
    with torch.no_grad():
        values = influence.influence(penultimate(network, x), y)
    return values.gather(1, strongest).sum(1)


def test_one_step_is_the_sign_of_the_gradient(task):
    network, x, y, influence = task
    before = fingerprint(network)
    x_adv = attack_of(influence)(network, x, y)
    assert_untouched(network, before)
    with torch.no_grad():
        values = influence.influence(penultimate(network, x), y)
    strongest = values.topk(3, largest=False).indices
    step, gradient = 1e-6, torch.zeros_like(x)
    for place in range(x[0].numel()):
        move = torch.zeros(x[0].numel(), dtype=torch.float64)
        move[place] = step
        move = move.view_as(x[0])
        slope = (summed(task, x + move, strongest) - summed(task, x - move, strongest)) / (2 * step)
        gradient.flatten(1)[:, place] = slope
    clear = gradient.abs() > 1e-3 * gradient.abs().amax((1, 2, 3), keepdim=True)
    expected = (x + EPS * gradient.sign()).clamp(0, 1)
    assert clear.double().mean() > 0.9
    torch.testing.assert_close(x_adv[clear], expected[clear], atol=1e-9, rtol=0)


def test_more_steps_climb_higher_and_random_signs_do_not(task):
    network, x, y, influence = task
    runs = {
        "one": attack_of(influence),
        "many": attack_of(influence, SignStep(0.25, relative=True), steps=10),
        "random": attack_of(influence, RandomSignStep(1.0, relative=True)),
    }
    results = {name: attack.run(network, x, y) for name, attack in runs.items()}
    gains = {name: result.trace[-1] - result.trace[0] for name, result in results.items()}
    assert bool((gains["many"] >= gains["one"]).all())
    assert bool((gains["one"] > gains["random"].abs()).all())
    assert all(bool((result.linf <= EPS + 1e-12).all()) for result in results.values())
    with torch.no_grad():
        predicted = influence.logits(penultimate(network, results["many"].x_adv)).argmax(1)
    assert torch.equal(results["many"].success, predicted == y)


def test_wrong_use_is_refused(task):
    network, x, y, influence = task
    with pytest.raises(ValueError, match="top must be 1"):
        attack_of(influence, top=0)
    with pytest.raises(ValueError, match="no restarts"):
        attack_of(influence, label="predicted")
    with pytest.raises(ValueError, match="number of training images, 20"):
        attack_of(influence, top=21)(network, x, y)
    with pytest.raises(ValueError, match="no target class"):
        attack_of(influence)(network, x, y, target=y)
    with pytest.raises(TypeError, match="needs a Network"):
        attack_of(influence)(linear_network(values=108), x, y)
