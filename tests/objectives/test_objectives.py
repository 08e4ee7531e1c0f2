"""Every objective against a literal transcription, gradients included; costs and side effects."""

from functools import partial

import pytest
import torch
from gradients import assert_same
from helpers import small_batch, small_network
from reference.consistency import consistent_loss
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.objectives import (
    AWP,
    Consistency,
    Fast,
    Free,
    GradAlign,
    HessianNorm,
    IGNorm,
    IGSumNorm,
    Kurakin,
    Madry,
    Mart,
    Standard,
    Trades,
    squared_distance,
)

EPS = 8 / 255


@pytest.mark.parametrize("bn", ["train", "eval", "frozen"])
def test_consistency_is_eq_8_and_9(bn):
    """With running statistics everywhere, where images do not see each other, it is the paper's formula."""
    network, batch = small_network().double().train(), small_batch(dtype=torch.float64)
    if bn != "frozen":
        network.eval()  # `train` and `eval` differ from `frozen` in training mode only
    objective = Consistency(AttackConfig("fgsm", EPS), distance="sum", bn=bn)
    ours = objective(network, batch, epoch=0).total
    frozen = network.eval()
    theirs = consistent_loss(
        frozen,
        lambda x: frozen.forward_features(x, ["relu2"])[1]["relu2"],
        batch.image,
        batch.label,
        [EPS] * len(batch.label),
    )
    assert_same(network, ours, theirs, atol=1e-6)


def test_consistency_in_training_mode_uses_the_batch_twice():
    """Eq. 8-9 on whole batches: clean and adversarial images are normalised by their own statistics."""
    network, batch = small_network().double().train(), small_batch(dtype=torch.float64)
    x = batch.image.clone().requires_grad_()
    logits, clean = network.forward_features(x, ["phi"])
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, batch.label), x, retain_graph=True)
    x_adv = (batch.image + EPS * gradient.sign()).clamp(0, 1)
    adv_logits, adversarial = network.forward_features(x_adv, ["phi"])
    theirs = (
        0.5 * F.cross_entropy(logits, batch.label)
        + 0.5 * F.cross_entropy(adv_logits, batch.label)
        + (clean["phi"] - adversarial["phi"]).square().flatten(1).mean(1).mean()
    )
    ours = Consistency(AttackConfig("fgsm", EPS))(network, batch, epoch=0)
    assert_same(network, ours.total, theirs, atol=1e-6)
    assert ours.parts["acc"] == (logits.argmax(1) == batch.label).double().mean()


@pytest.mark.parametrize("distance", ["mean", "sum", "relative"])
@pytest.mark.parametrize("detach_clean", [False, True])
@pytest.mark.parametrize("inner", [AttackConfig("fgsm", EPS), AttackConfig("pgd", EPS, steps=3)])
def test_consistency_knobs(distance, detach_clean, inner):
    network, batch = small_network().double().train(), small_batch(dtype=torch.float64)
    objective = Consistency(
        inner,
        {"relu1": 0.5, "penultimate": 2.0},
        0.7,
        distance,
        alpha=0.3,
        detach_clean=detach_clean,
        bn="frozen",
    )
    ours = objective(network, batch, epoch=4).total
    network.eval()
    x_adv = objective.attack(network, batch.image, batch.label, keys=objective.keys(batch, 4))
    z, a = network.forward_features(batch.image, ["relu1", "penultimate"])
    z_adv, b = network.forward_features(x_adv, ["relu1", "penultimate"])
    theirs = 0.3 * F.cross_entropy(z, batch.label) + 0.7 * F.cross_entropy(z_adv, batch.label)
    for layer, weight in (("relu1", 0.5), ("penultimate", 2.0)):
        phi = (a[layer].detach() if detach_clean else a[layer]).flatten(1)
        squares = (phi - b[layer].flatten(1)) ** 2
        d = {
            "mean": squares.mean(1),
            "sum": squares.sum(1),
            "relative": squares.sum(1) / ((phi**2).sum(1) + 1e-8),
        }
        theirs = theirs + 0.7 * weight * d[distance].mean()
    assert_same(network, ours, theirs, atol=1e-9)


@pytest.mark.parametrize("bn", ["train", "eval"])
def test_noise_from_another_class(bn):
    """x* = x − ε sign ∇L(f(x), t): towards a class t that is drawn anew in every epoch, then Eq. 8 and 9 with y."""
    network, batch = small_network().double().eval(), small_batch(dtype=torch.float64)
    objective = Consistency(AttackConfig("fgsm", EPS, target="random"), distance="sum", bn=bn)
    drawn = [
        objective.attack.run(network, batch.image, batch.label, keys=objective.keys(batch, n)).target for n in (0, 1)
    ]
    assert not torch.equal(*drawn)
    assert all((target != batch.label).all() for target in drawn)
    theirs = 0
    for image, label, target in zip(batch.image, batch.label, drawn[1], strict=True):
        x, y, t = image[None].clone().requires_grad_(), label[None], target[None]
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(x), t), x)
        x_adv = (image[None] - EPS * gradient.sign()).clamp(0, 1)
        (z, clean), (z_adv, adversarial) = (network.forward_features(part, ["relu2"]) for part in (image[None], x_adv))
        shift = (clean["relu2"] - adversarial["relu2"]).square().sum()
        theirs = theirs + 0.5 * F.cross_entropy(z, y) + 0.5 * F.cross_entropy(z_adv, y) + shift
    assert_same(network, objective(network, batch, epoch=1).total, theirs / len(batch.label), atol=1e-6)


def test_per_sample_eps_and_labels():
    network, batch = small_network().double().eval(), small_batch(dtype=torch.float64)
    objective = Consistency(AttackConfig("fgsm", ["4/255", "16/255"], label="predicted"), distance="sum")
    objective.seed = 9
    eps = objective.attack.threat.budget.radius(objective.keys(batch, 2)).flatten()
    assert eps.unique().numel() == len(eps)
    predicted = network(batch.image).argmax(1)
    x = batch.image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(x), predicted), x)
    x_adv = (batch.image + eps.double().view(-1, 1, 1, 1) * gradient.sign()).clamp(0, 1)
    ours = objective(network, batch, epoch=2)
    expected = F.cross_entropy(network(x_adv), batch.label)
    torch.testing.assert_close(ours.parts["loss_adv"], expected.detach(), rtol=0, atol=1e-6)


def test_kurakin_is_its_formula():
    network, batch = small_network().double().eval(), small_batch(n=8, dtype=torch.float64)
    objective = Kurakin()
    ours = objective(network, batch, epoch=1).total
    m, k, lam = 8, 4, 0.3
    keys = objective.keys(batch, 1)[m - k :]
    x_adv = objective.attack(network, batch.image[m - k :], batch.label[m - k :], keys=keys)
    clean = sum(F.cross_entropy(network(batch.image[i : i + 1]), batch.label[i : i + 1]) for i in range(m - k))
    adv = sum(F.cross_entropy(network(x_adv[i : i + 1]), batch.label[m - k + i : m - k + i + 1]) for i in range(k))
    assert_same(network, ours, (clean + lam * adv) / ((m - k) + lam * k), atol=1e-6)


def test_madry_and_standard_are_their_formulas():
    network, batch = small_network().double().eval(), small_batch(dtype=torch.float64)
    objective = Madry()
    x_adv = objective.attack(network, batch.image, batch.label, keys=objective.keys(batch, 3))
    assert (x_adv != batch.image).any()
    ours = objective(network, batch, epoch=3).total
    assert_same(network, ours, F.cross_entropy(network(x_adv), batch.label), atol=1e-6)
    assert_same(
        network,
        Standard()(network, batch, epoch=0).total,
        F.cross_entropy(network(batch.image), batch.label),
        atol=1e-6,
    )


def count_passes(monkeypatch, objective, network, batch):
    counts = {"forward": 0, "input_backward": 0}
    network.backbone.register_forward_hook(lambda *_: counts.__setitem__("forward", counts["forward"] + 1))
    original = torch.autograd.grad

    def grad(*args, **kwargs):
        counts["input_backward"] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    objective(network, batch, epoch=0).total.backward()
    return counts["forward"], counts["input_backward"]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Standard(), (1, 0)),
        (Consistency(), (2, 1)),
        (Consistency(bn="frozen"), (2, 1)),
        (Consistency(AttackConfig("fgsm", label="predicted")), (2, 1)),
        (Consistency(bn="eval"), (3, 1)),
        (Consistency(AttackConfig("pgd", steps=3)), (5, 3)),
        (Madry(AttackConfig("pgd", steps=3)), (4, 3)),
        (Kurakin(), (2, 1)),
    ],
)
def test_fewest_passes(monkeypatch, objective, expected):
    assert count_passes(monkeypatch, objective, small_network().train(), small_batch()) == expected


EXPLANATION = [HessianNorm, partial(IGNorm, path_steps=2), partial(IGSumNorm, path_steps=2, recompute=True)]


@pytest.mark.parametrize(
    "objective", [Standard, Consistency, Kurakin, Madry, Fast, Free, Trades, Mart, AWP, GradAlign, *EXPLANATION]
)
@pytest.mark.parametrize("bn", ["train", "eval", "frozen"])
def test_batch_norm_statistics(objective, bn):
    """Only the loss's own forwards update the running statistics: as many as it has, none when frozen."""
    network, batch = small_network().train(), small_batch()
    network.backbone.bn1.eval()
    statistics = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    loss = objective(bn=bn)(network, batch, epoch=0)
    loss.total.backward(inputs=[*network.parameters(), *loss.inputs])
    assert network.backbone.bn2.training
    assert not network.backbone.bn1.training
    updates = int(network.backbone.bn2.num_batches_tracked)
    assert updates == (0 if bn == "frozen" else 2 if objective in (Consistency, Trades, Mart) else 1)
    changed = {
        key
        for key, value in network.state_dict().items()
        if key in statistics and not torch.equal(value, statistics[key])
    }
    assert changed == (set() if bn == "frozen" else {"backbone.bn2.running_mean", "backbone.bn2.running_var"})


def test_draws_follow_seed_and_epoch(monkeypatch):
    network, batch = small_network(), small_batch()
    objective = Madry()

    def images(seed, epoch):
        attacked = {}
        original = Attack.__call__
        monkeypatch.setattr(Attack, "__call__", lambda *a, **k: attacked.setdefault("x", original(*a, **k)))
        objective.seed = seed
        objective(network, batch, epoch=epoch)
        monkeypatch.setattr(Attack, "__call__", original)
        return attacked["x"]

    assert torch.equal(images(1, 2), images(1, 2))
    assert not torch.equal(images(1, 2), images(1, 3))
    assert not torch.equal(images(1, 2), images(2, 2))


@pytest.mark.parametrize("objective", [Consistency, Madry, Kurakin, Trades, Mart, IGNorm, IGSumNorm])
def test_eps_warm_up(objective):
    """ε is 0 in the first epoch, grows by equal parts, and stays."""
    attack = AttackConfig("pgd", "8/255", steps=2, step_size="2/255")
    warming = objective(attack=attack, eps_warmup_epochs=4)
    radii = [warming.attack_at(epoch).threat.budget.high * 255 for epoch in (0, 1, 2, 4, 9)]
    assert radii == pytest.approx([0, 2, 4, 8, 8])
    assert [warming.attack_at(epoch).step.size * 255 for epoch in (1, 4)] == pytest.approx([0.5, 2])
    network, batch = small_network().train(), small_batch()
    assert warming.attack_at(0)(network, batch.image, batch.label).equal(batch.image)
    clean = warming(network, batch, epoch=0)
    if objective is Consistency:
        assert clean.parts["consistency"] == 0
    assert warming(network, batch, epoch=4).total > clean.total


def test_squared_distance_by_hand():
    a, b = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 4.0]]])
    assert squared_distance(a, b, "sum").tolist() == [13.0]
    assert squared_distance(a, b, "mean").tolist() == [13.0 / 4]
    assert squared_distance(a, b, "relative").item() == pytest.approx(13 / 30)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Consistency(alpha=1.5), r"alpha must be in \[0, 1\], got 1.5"),
        (lambda: Consistency(weight=-1), "weight must be 0 or more, got -1"),
        (lambda: Consistency(distance="cosine"), "distance must be mean, sum or relative, got 'cosine'"),
        (lambda: Consistency(layers=[]), "layers must name at least one"),
        (lambda: Consistency(bn="off"), "bn must be train, eval or frozen, got 'off'"),
        (lambda: Kurakin(adversarial_share=0), r"adversarial_share must be in \(0, 1\], got 0"),
        (lambda: Madry(eps_warmup_epochs=-1), "eps_warmup_epochs must be 0 or more, got -1"),
        (lambda: Kurakin(adversarial_weight=0), "adversarial_weight must be positive, got 0"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_feature_layer_names_the_nearest():
    with pytest.raises(ValueError, match="relu2"):
        Consistency(layers="relu3")(small_network(), small_batch(), epoch=0)
