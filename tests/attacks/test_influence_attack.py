"""The attack on influence functions against finite differences and the paper's form."""

import pytest
import torch
from helpers import assert_untouched, fingerprint, linear_network, small_batch, small_network

from lightning_advinterp.attacks.explanation.influence import InfluenceAttack
from lightning_advinterp.attacks.explanation.raised_influence import RaisedInfluenceAttack
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


def raising(influence, step=SignStep(1.0, relative=True), **settings):  # noqa: B008
    return RaisedInfluenceAttack(Linf(Budget(EPS, EPS)), step, influence=influence, **settings)


@pytest.mark.parametrize("measure", ["share", "influence"])
def test_a_chosen_image_is_raised_along_the_gradient_of_finite_differences(task, measure):
    network, x, y, influence = task
    x, y, keys = x[:1], y[:1], torch.tensor([7])
    attack = raising(influence, measure=measure)
    place = attack.chosen(y, keys).item()
    assert influence.labels[place] != y

    def raised(images):
        with torch.no_grad():
            values = -influence.influence(penultimate(network, images), y)[0]
        return (values[place] / (values.norm() if measure == "share" else 1)).item()

    gradient, step = torch.zeros(x[0].numel(), dtype=torch.float64), 1e-5
    for number in range(len(gradient)):
        move = torch.zeros_like(gradient)
        move[number] = step
        gradient[number] = (raised(x + move.view_as(x)) - raised(x - move.view_as(x))) / (2 * step)
    point = x.clone().requires_grad_()
    goal = attack.goal(y, None, keys)
    goal.directions = influence.directions(torch.tensor([[place]]))
    gain, _ = attack.objective(network, point, x, goal)
    assert gain.item() == pytest.approx(raised(x), rel=1e-9)
    (slope,) = torch.autograd.grad(gain.sum(), point)
    torch.testing.assert_close(slope.flatten(), gradient, rtol=1e-5, atol=1e-6 * float(gradient.abs().max()))
    expected = (x + EPS * slope.sign()).clamp(0, 1)
    torch.testing.assert_close(attack(network, x, y, keys=keys), expected, atol=1e-9, rtol=0)


def test_the_chosen_image_rises_and_random_signs_leave_it(task):
    network, x, y, influence = task
    keys = torch.arange(len(x))
    many = raising(influence, SignStep(0.25, relative=True), steps=10)
    chosen, order = many.chosen(y, keys), [2, 0, 1]
    assert torch.equal(many.chosen(y[order], keys[order]), chosen[order])
    once = raising(influence, RandomSignStep(1.0, relative=True))
    runs = [attack.run(network, x, y, keys=keys) for attack in (many, once)]
    climbed, random = (run.trace[-1] - run.trace[0] for run in runs)
    assert bool((climbed > random.abs()).all())
    assert raising(influence, among=5).chosen(y, keys).tolist() == [5, 5, 5]


def test_what_cannot_be_raised_is_refused(task):
    *_, influence = task
    with pytest.raises(ValueError, match="measure must be share or influence, got 'rank'"):
        raising(influence, measure="rank")
    with pytest.raises(ValueError, match="a place among 20 training images, got 20"):
        raising(influence, among=20)
    alike = LastLayerInfluence(torch.rand(4, 2), torch.zeros(4, dtype=torch.int64), torch.rand(2, 2))
    with pytest.raises(ValueError, match="no training image is of another class"):
        raising(alike).chosen(torch.tensor([0]), torch.tensor([1]))


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
