"""The ensemble by hand: two linear members of one channel, with different image sizes and normalisations."""

import math

import pytest
import torch
from helpers import fingerprint, small_batch
from torch import nn

from lightning_advinterp.attacks import (
    AttackConfig,
    Ensemble,
    EnsembleAttack,
    Member,
    calibrate,
    create_attack,
    least_likely_targets,
    sample_keys,
)
from lightning_advinterp.attacks.loop.goal import cross_entropy, negative_log
from lightning_advinterp.networks import Network, create_network

X = torch.tensor([[0.1, 0.9], [0.4, 0.6]], dtype=torch.float64)  # one 2 x 2 image
A = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0], [2.0, 0.0, 0.0, -1.0]], dtype=torch.float64)
B = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
COMBINATIONS = ("loss", "prob", "logit")


def linear_member(weight, size, mean, std):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    layer.weight.data.copy_(weight)
    backbone = nn.Sequential(nn.Flatten(), layer)
    return Network(backbone, name="linear", num_classes=len(weight), mean=[mean], std=[std], input_size=size).double()


@pytest.fixture
def members():
    """f_1 sees the 2 x 2 image less 0.5, over 0.25; f_2 its average (bilinear to 1 x 1) less 0.4, over 0.5."""
    return [linear_member(A, 2, 0.5, 0.25), linear_member(B[:, None], 1, 0.4, 0.5)]


def by_hand(combine, y, shares):
    """Loss of class y and its gradient by the pixels, worked out on paper.

    z_1 = A (x - 0.5)/0.25, dz_1/dx = 4 A; z_2 = b (m - 0.4)/0.5 with m the mean of x, dz_2/dx = 2 b/4 for all pixels.
    """
    z = [A @ (X.flatten() - 0.5) * 4, B * (X.mean() - 0.4) * 2]
    jacobian = [4 * A, (B / 2)[:, None].expand(3, 4)]
    p = [logits.exp() / logits.exp().sum() for logits in z]
    unit = torch.zeros(3, dtype=torch.float64)
    unit[y] = 1
    if combine == "loss":
        value = -sum(w * math.log(q[y]) for w, q in zip(shares, p, strict=True))
        gradient = sum(w * (q - unit) @ j for w, q, j in zip(shares, p, jacobian, strict=True))
    elif combine == "prob":
        mixed = sum(w * q[y] for w, q in zip(shares, p, strict=True))
        value = -math.log(mixed)
        gradient = sum(w * q[y] / mixed * (q - unit) @ j for w, q, j in zip(shares, p, jacobian, strict=True))
    else:
        mixed = sum(w * logits for w, logits in zip(shares, z, strict=True))
        q = mixed.exp() / mixed.exp().sum()
        value = -math.log(q[y])
        gradient = (q - unit) @ sum(w * j for w, j in zip(shares, jacobian, strict=True))
    return value, gradient


@pytest.mark.parametrize("combine", COMBINATIONS)
@pytest.mark.parametrize("shares", [None, (0.3, 0.7)])
@pytest.mark.parametrize("y", [0, 2])
def test_values_and_gradients_are_those_worked_out_by_hand(members, combine, shares, y):
    value, expected = by_hand(combine, y, shares or (0.5, 0.5))
    x = X[None, None].clone().requires_grad_()
    loss = negative_log(Ensemble(members, shares, combine)(x), torch.tensor([y]))
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert loss.item() == pytest.approx(value, abs=1e-12)
    torch.testing.assert_close(gradient.flatten(), expected, rtol=0, atol=1e-12)


def test_scores_are_log_probabilities_except_for_the_mean_of_losses(members):
    x, y = torch.rand(5, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    for combine in COMBINATIONS:
        scores = Ensemble(members, combine=combine)(x)
        same = torch.allclose(cross_entropy(scores, y), negative_log(scores, y))
        assert same == (combine != "loss")
    losses = torch.stack([cross_entropy(z, y) for z in Ensemble(members).logits(x)])
    torch.testing.assert_close(negative_log(Ensemble(members)(x), y), losses.mean(0))


def test_least_likely_targets(members):
    x = torch.rand(20, 1, 2, 2, dtype=torch.float64)
    ensemble = Ensemble(members, (0.3, 0.7))
    z1, z2 = ensemble.logits(x)
    p = 0.3 * z1.softmax(1) + 0.7 * z2.softmax(1)
    torch.testing.assert_close(ensemble.probabilities(x), p)
    targets = least_likely_targets(ensemble, x, 2)
    assert torch.equal(targets[:, 0], p.argmin(1))
    assert torch.equal(torch.cat([targets, p.argmax(1)[:, None]], 1).sort(1).values, torch.arange(3).expand(20, 3))
    with pytest.raises(ValueError, match="targets must be 1 to 3, the number of classes, got 4"):
        least_likely_targets(ensemble, x, 4)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of two small networks."""
    folder, paths = tmp_path_factory.mktemp("members"), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        paths.append(str(folder / f"{seed}.pth"))
        torch.save(create_network("cifar_resnet20", num_classes=12).backbone.state_dict(), paths[-1])
    return tuple(Member("cifar_resnet20", path) for path in paths)


def attack_on(files, **settings):
    return create_attack(AttackConfig("ensemble", members=files, **{"weight": 1e4, "steps": 3} | settings))


def test_the_attack_is_equation_4_on_the_ensemble(files):
    """Members are loaded from their files; the loss by hand, and the optimiser of torch."""
    batch = small_batch(n=2, size=24)
    attack = attack_on(files, target_rank=2, steps=3)
    networks = [create_network(member.network, member.weights).eval() for member in files]

    def resized(x):
        return nn.functional.interpolate(x, (32, 32), mode="bilinear")

    with torch.no_grad():
        p = sum(network(resized(batch.image)).softmax(1) for network in networks) / 2
    target = p.argsort(1)[:, 1]
    x255 = (255 * batch.image).requires_grad_()
    adam = torch.optim.Adam([x255], lr=5)
    for _ in range(3):
        losses = [nn.functional.cross_entropy(n(resized(x255 / 255)), target, reduction="none") for n in networks]
        d = (x255 - 255 * batch.image).square().mean((1, 2, 3))
        adam.zero_grad()
        (d + 1e4 * sum(losses) / 2).sum().backward()
        adam.step()
        x255.data.clamp_(0, 255)
    result = attack.run(networks[0], batch.image)
    assert torch.equal(result.target, target)
    difference = (result.x_adv - x255.detach() / 255).abs()
    assert (difference < 1e-4).float().mean() > 0.99  # in float32 a vanishing gradient has no certain sign


def test_every_image_gets_one_of_its_targets_from_its_key(files):
    batch = small_batch(n=60, size=8)
    keys = sample_keys(batch.index)
    attack = attack_on(files, targets=3)
    least = least_likely_targets(attack.ensemble.eval(), batch.image, 3)
    goal = attack.aim(batch.image, torch.zeros(60, 12), None, keys)
    chosen = goal.resolve(torch.zeros(60, 12))
    assert goal.targeted
    place = (least == chosen[:, None]).nonzero()[:, 1]
    assert len(place) == 60
    assert place.bincount(minlength=3).min() > 10
    part = attack.aim(batch.image[[7, 2]], torch.zeros(2, 12), None, keys[[7, 2]]).resolve(torch.zeros(2, 12))
    assert torch.equal(part, chosen[[7, 2]])
    everything = attack_on(files, targets=99).aim(batch.image, torch.zeros(60, 12), None, keys)
    likeliest = attack.ensemble.probabilities(batch.image).argmax(1)
    assert (everything.resolve(torch.zeros(60, 12)) != likeliest).all()
    third = attack_on(files, targets=3, target_rank=3).aim(batch.image, torch.zeros(60, 12), None, keys)
    assert torch.equal(third.resolve(torch.zeros(60, 12)), least[:, 2])


def test_the_network_asked_and_the_members_are_untouched(files):
    batch = small_batch(n=2, size=8)
    networks = [create_network(member.network, member.weights).train() for member in files]
    before = [fingerprint(network) for network in networks]
    inner = create_attack(AttackConfig("targeted_optimization", weight=1.0, steps=2))
    attack = EnsembleAttack(inner, networks)
    adversarial = attack(nn.Identity(), batch.image)  # which is not looked at
    assert adversarial.shape == batch.image.shape
    for network, (state, modes, gradients, _) in zip(networks, before, strict=True):
        after = fingerprint(network)
        assert all(torch.equal(after[0][key], state[key]) for key in state)
        assert after[1] == modes
        assert after[2] == gradients


def test_members_are_loaded_once_and_shared_by_a_calibration(files, monkeypatch):
    loaded = []

    def load(*arguments, **settings):
        loaded.append(arguments)
        return create_network(*arguments, **settings)

    monkeypatch.setattr("lightning_advinterp.networks.choice.create_network", load)
    attack, batch = attack_on(files, steps=1), small_batch(n=2, size=8)
    text = repr(attack)
    assert loaded == []
    attack(nn.Identity(), batch.image)
    with pytest.warns(UserWarning, match="ensemble: no weight from 1 to 10"):
        calibration = calibrate(attack, nn.Identity(), batch.image, grid=(1.0, 10.0))
    assert calibration.images == 2
    assert len(loaded) == 2
    assert repr(attack) == text  # it names an unfinished evaluation
    assert attack.passes == (2 * 2, 2 * 1)


def test_random_and_given_targets(files):
    batch = small_batch(n=4, size=8)
    result = attack_on(files, target=5).run(nn.Identity(), batch.image)
    assert result.target.tolist() == [5] * 4
    result = attack_on(files, target="random").run(nn.Identity(), batch.image, batch.label)
    assert (result.target != batch.label).all()
    target = torch.tensor([1, 2, 3, 4])
    assert torch.equal(attack_on(files).run(nn.Identity(), batch.image, target=target).target, target)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"members": ()}, "members must name at least one network, got none"),
        ({"members": None}, "members must name at least one network, got none"),
        ({"combine": "vote"}, "combine must be one of loss, prob, logit, got 'vote'"),
        ({"targets": 0}, "targets must be 1 or more classes, got 0"),
        ({"targets": 3, "target_rank": 4}, "target_rank must be 1 to 3, the number of targets, got 4"),
        ({"target": 3, "target_rank": 1}, "leave them out with target=3"),
    ],
)
def test_wrong_settings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        AttackConfig(**{"type": "ensemble", "members": (Member("resnet18"),)} | config)


def test_members_that_do_not_fit_are_refused(members):
    with pytest.raises(ValueError, match="2 shares above 0 that sum to 1"):
        Ensemble(members, (1.0, 0.5))
    with pytest.raises(ValueError, match=r"the same classes, got networks of \[3, 2\] classes"):
        Ensemble([members[0], linear_member(A[:2], 2, 0.5, 0.5)])


def test_targets_among_some_classes(files):
    """The least likely of the classes of a data set, not of all outputs."""
    batch = small_batch(n=60, size=8)
    attack, keys = attack_on(files, targets=2), sample_keys(batch.index)
    attack.classes = (1, 4, 7)
    chosen = attack.aim(batch.image, torch.zeros(60, 12), None, keys).resolve(torch.zeros(60, 12))
    probabilities = attack.ensemble.probabilities(batch.image)[:, [1, 4, 7]]
    likeliest = torch.tensor([1, 4, 7])[probabilities.argmax(1)]
    assert set(chosen.tolist()) <= {1, 4, 7}
    assert (chosen != likeliest).all(), "two of three: never the likeliest"
