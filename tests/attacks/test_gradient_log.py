"""Attacks that cannot work say so: gradients exactly zero or not finite, targets that are the true class."""

import pytest
import torch
from helpers import linear_network, small_batch, small_network
from torch import nn

from lightning_advinterp.attacks import AttackConfig, EnsembleAttack, create_attack
from lightning_advinterp.objectives import Consistency, Kurakin, Madry

GRADIENT = {
    "fgsm": AttackConfig("fgsm", "4/255"),
    "pgd": AttackConfig("pgd", "4/255", steps=3, restarts=2),
    "pgd-l2": AttackConfig("pgd", 0.5, norm="l2", steps=3),
    "pgd-target": AttackConfig("pgd", "4/255", steps=3, target="random"),
    "pgd-stopping": AttackConfig("pgd", "4/255", steps=3, stop_after=1),
    "mifgsm": AttackConfig("mifgsm", "4/255", steps=3),
    "optimization": AttackConfig("optimization", weight=10.0, steps=3),
    "targeted_optimization": AttackConfig("targeted_optimization", weight=10.0, steps=3, stop_after=1),
    "cw": AttackConfig("cw", steps=4, search_steps=2),
    "apgd": AttackConfig("apgd", "4/255", steps=4),
    "apgd_t": AttackConfig("apgd_t", "4/255", steps=4),
    "fab_t": AttackConfig("fab_t", "4/255", steps=3),
    "autoattack": AttackConfig("autoattack", "1/255", steps=3, queries=4),
}


class Around(nn.Module):
    """A network behind what hides its gradient from the image."""

    def __init__(self, network, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x):
        return self.after(self.network(self.before(x)))


def constant(x):
    return torch.zeros(len(x), 10, dtype=x.dtype).index_fill(1, torch.tensor([2]), 1.0) + 0 * x.sum((1, 2, 3))[:, None]


HIDDEN = {
    "quantised": lambda network: Around(network, lambda x: (x * 15).round() / 15),
    "detached": lambda network: Around(network, lambda x: x.detach()),
    "without a graph": lambda network: Around(network, after=lambda z: z.detach()),
    "saturated": lambda network: Around(network, after=lambda z: (1e4 * z).clamp(-1, 1)),
    "no image": lambda network: Around(constant),
}


@pytest.fixture
def images():
    network, batch = linear_network(0.05), small_batch(n=6, dtype=torch.float64)
    return network, batch.image, network(batch.image).argmax(1)


@pytest.mark.parametrize("name", GRADIENT)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_images_without_a_gradient_are_counted(images, name, hidden):
    network, x, _ = images
    network = HIDDEN[hidden](network)
    y = network(x).argmax(1)
    result = create_attack(GRADIENT[name]).run(network, x, y)
    assert result.zero_gradient.all()
    assert not result.nonfinite.any()


@pytest.mark.parametrize("name", [*GRADIENT, "square", "random_sign"])
def test_images_with_a_gradient_are_not(images, name):
    network, x, y = images
    result = create_attack(GRADIENT.get(name) or AttackConfig(name)).run(network, x, y)
    assert not result.zero_gradient.any()
    assert not result.nonfinite.any()
    assert result.attacked.all()


def test_every_image_is_counted_by_itself(images):
    network, x, y = images
    half = Around(network, lambda x: torch.where((x.mean((1, 2, 3)) > x.mean())[:, None, None, None], x, x.detach()))
    result = create_attack(AttackConfig("pgd", steps=2)).run(half, x, y)
    assert torch.equal(result.zero_gradient, x.mean((1, 2, 3)) <= x.mean())


@pytest.mark.parametrize("name", [*GRADIENT, "square"])
def test_what_is_not_finite_is_counted_and_moves_nothing_out_of_the_box(images, name):
    network, x, y = images
    broken = Around(network, after=lambda z: z * torch.where(torch.arange(len(z)) == 0, torch.nan, 1.0)[:, None])
    config = GRADIENT.get(name) or AttackConfig("square", queries=3)
    result = create_attack(config).run(broken, x[:1], y[:1])
    assert result.nonfinite.all()
    assert not result.success.any()  # NaN predicts nothing
    assert result.x_adv.isfinite().all()
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd-l2", "mifgsm", "optimization", "cw"])
@pytest.mark.parametrize("rule", ["index", "tensor"])
def test_an_image_of_the_target_class_is_left_out(images, name, rule):
    network, x, y = images
    config = {key: value for key, value in GRADIENT[name].given().items()} | {"type": GRADIENT[name].type}
    if rule == "index" and name != "optimization":
        attack, target = create_attack(AttackConfig(**config | {"target": int(y[0])})), None
    else:
        attack, target = create_attack(GRADIENT[name]), torch.full_like(y, int(y[0]))
    result = attack.run(network, x, y, target=target)
    out = y == y[0]
    assert torch.equal(result.attacked, ~out)
    assert torch.equal(result.x_adv[out], x[out])
    assert not result.success[out].any()
    assert (result.linf[out] == 0).all()
    assert torch.equal(attack(network, x, y, target=target), result.x_adv)


@pytest.mark.parametrize("settings", [{"target": "least_likely"}, {"target": "random"}, {"label": "least_likely"}])
@pytest.mark.parametrize("within", [None, (0, 1, 4)])
def test_a_chosen_target_is_never_the_true_class(settings, within):
    network, batch = small_network(), small_batch(n=40)
    y = network(batch.image).argmin(1)  # as wrong as can be
    y = y if within is None else torch.tensor(within)[torch.arange(40) % 3]
    attack = create_attack(AttackConfig("fgsm", **settings))
    attack.classes = within
    result = attack.run(network, batch.image, y)
    assert result.attacked.all()
    assert (result.target != y).all()
    assert within is None or set(result.target.tolist()) <= set(within)


@pytest.mark.parametrize("rank", [None, 1, 4])
def test_nor_is_an_ensembles(rank):
    batch, networks = small_batch(n=40), [small_network(seed=seed) for seed in (0, 1)]
    inner = create_attack(AttackConfig("targeted_optimization", weight=1.0, steps=1))
    attack = EnsembleAttack(inner, networks, targets=4, rank=rank)
    y = attack.ensemble.eval().probabilities(batch.image).argmin(1)
    result = attack.run(attack.ensemble, batch.image, y)
    assert (result.target != y).all()
    assert result.attacked.all()


@pytest.mark.parametrize("objective", [Madry, Kurakin, Consistency])
def test_training_meets_an_output_that_does_not_depend_on_the_image(objective):
    network, batch = small_network(), small_batch()
    network.backbone.conv1.register_forward_pre_hook(lambda module, inputs: inputs[0].detach())
    loss = objective(AttackConfig("fgsm", "4/255"))(network, batch, epoch=0)
    assert loss.total.isfinite()
    loss.total.backward()
