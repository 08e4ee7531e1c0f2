"""The loop: where it stays, what it leaves alone, and that no draw depends on the batch."""

import copy
from contextlib import nullcontext

import pytest
import torch
from helpers import assert_untouched, fingerprint, small_batch, small_network
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_advinterp.attacks import AttackConfig, create_attack, fgsm, pgd, sample_keys
from lightning_advinterp.attacks.loop.goal import random_targets
from lightning_advinterp.attacks.prediction.untargeted import UntargetedAttack

CONFIGS = {
    "fgsm": AttackConfig("fgsm", "8/255"),
    "fgsm-predicted": AttackConfig("fgsm", "8/255", label="predicted"),
    "fgsm-least-likely": AttackConfig("fgsm", "8/255", label="least_likely"),
    "fgsm-range": AttackConfig("fgsm", ["4/255", "16/255"]),
    "bim": AttackConfig("bim", "4/255"),
    "pgd": AttackConfig("pgd", "8/255", steps=3),
    "pgd-margin": AttackConfig("pgd", "8/255", steps=3, loss="margin"),
    "pgd-dlr": AttackConfig("pgd", "8/255", steps=3, loss="dlr"),
    "pgd-restarts": AttackConfig("pgd", "8/255", steps=2, restarts=3),
    "pgd-l2": AttackConfig("pgd", 1.5, norm="l2", steps=3),
    "fgsm-l2": AttackConfig("fgsm", 1.5, norm="l2"),
    "pgd-random-target": AttackConfig("pgd", "8/255", steps=2, target="random"),
    "pgd-class": AttackConfig("pgd", "8/255", steps=2, target=3),
    "pgd-stopping": AttackConfig("pgd", "64/255", steps=5, stop_after=1),
    "mifgsm": AttackConfig("mifgsm", "8/255", steps=3),
    "mifgsm-stopping": AttackConfig("mifgsm", "64/255", steps=5, stop_after=2),
    "tifgsm": AttackConfig("tifgsm", "8/255", steps=3, kernel=5),
    "fgsm-rs": AttackConfig("fgsm_rs", "8/255"),
    "n-fgsm": AttackConfig("nfgsm", "8/255"),
    "trades": AttackConfig("trades", "8/255", steps=3),
    "optimization": AttackConfig("optimization", weight=1e4, steps=3),
    "targeted-optimization": AttackConfig("targeted_optimization", "8/255", weight=1e4, steps=5, stop_after=2),
    "cw": AttackConfig("cw", steps=6, search_steps=3, initial_weight=1.0),
    "cw-least-likely": AttackConfig("cw", steps=6, search_steps=2, target="least_likely"),
    "apgd": AttackConfig("apgd", "2/255", steps=5),
    "apgd-dlr-l2": AttackConfig("apgd", 0.2, norm="l2", steps=5, loss="dlr"),
    "apgd-t-range": AttackConfig("apgd_t", ["1/255", "3/255"], steps=5),
    "fab-t": AttackConfig("fab_t", "4/255", steps=5),
    "fab-t-l2-predicted": AttackConfig("fab_t", 0.3, norm="l2", steps=5, label="predicted"),
    "square": AttackConfig("square", "4/255", queries=20),
    "square-l2": AttackConfig("square", 0.5, norm="l2", queries=20),
    "autoattack": AttackConfig("autoattack", "1/255", steps=3, queries=10),
    "random-sign": AttackConfig("random_sign", "8/255"),
}


@pytest.fixture(params=CONFIGS, ids=CONFIGS)
def attack(request):
    return create_attack(CONFIGS[request.param], bn="train")


def mostly_right(network, batch):
    """Labels that the network gives, in the mode it is in, but for the first image's."""
    with torch.no_grad():
        label = copy.deepcopy(network)(batch.image).argmax(1)
    label[0] = (label[0] + 1) % 5
    return label


def test_network_is_untouched(attack):
    network, batch = small_network(dropout=0.3).train(), small_batch()
    network.backbone.bn1.eval()  # a mixed mode must come back as it was
    network(batch.image).sum().backward()  # accumulated gradients too
    before, random_state = fingerprint(network), torch.get_rng_state()
    x = batch.image.clone()
    attack(network, x, batch.label, keys=sample_keys(batch.index))
    assert_untouched(network, before)
    assert torch.equal(random_state, torch.get_rng_state())
    assert torch.equal(x, batch.image)
    assert not x.requires_grad


def test_network_is_untouched_after_an_error(attack):
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.calls = small_network().train(), 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 2 or attack.passes == (1, 1):
                raise RuntimeError("broken on purpose")
            return self.network(x)

    network, batch = Failing().train(), small_batch()
    label = mostly_right(network.network, batch)
    before = fingerprint(network)
    with nullcontext() if attack.passes == (0, 0) else pytest.raises(RuntimeError, match="broken on purpose"):
        attack(network, batch.image, label)
    assert (network.calls == 0) == (attack.passes == (0, 0))
    assert_untouched(network, before)


def test_result_is_consistent(attack):
    network, batch = small_network(), small_batch()
    label = mostly_right(network, batch)
    result = attack.run(network, batch.image, label, keys=sample_keys(batch.index))
    logits = network(result.x_adv)
    targeted = attack.target is not None or attack.label == "least_likely"
    assert torch.equal((logits.argmax(1) == result.target) == targeted, result.success)
    delta = (result.x_adv - batch.image).flatten(1)
    assert torch.allclose(result.linf, delta.abs().amax(1))
    assert torch.allclose(result.l2, delta.norm(dim=1))
    length = 2 if isinstance(attack, UntargetedAttack) else getattr(attack, "search_steps", attack.iterations + 1)
    assert result.trace.shape == (length, len(batch.label))
    assert not result.x_adv.requires_grad
    assert torch.equal(result.x_adv, attack(network, batch.image, label, keys=sample_keys(batch.index)))


@pytest.mark.parametrize("name", [name for name in CONFIGS if "predicted" not in name])
def test_a_sample_does_not_depend_on_its_batch(name):
    """In float64, so that the batch's size does not decide roundings."""
    network, batch = small_network().double(), small_batch(n=6, dtype=torch.float64)
    attack, keys = create_attack(CONFIGS[name]), sample_keys(batch.index, seed=3)
    label = mostly_right(network, batch)
    together = attack(network, batch.image, label, keys=keys)
    for part in ([4, 1], [5], [0, 2, 3]):
        alone = attack(network, batch.image[part], label[part], keys=keys[part])
        torch.testing.assert_close(alone, together[part], rtol=0, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    norm=st.sampled_from(["linf", "l2"]),
    eps=st.floats(0, 1),
    steps=st.integers(1, 4),
    step_size=st.one_of(st.none(), st.floats(0, 1)),
    start=st.booleans(),
    seed=st.integers(0, 2**31),
    precision=st.sampled_from(["float32", "bfloat16", "float64", "autocast"]),
    channels_last=st.booleans(),
    extreme=st.booleans(),
)
def test_stays_in_the_ball_and_in_the_box(norm, eps, steps, step_size, start, seed, precision, channels_last, extreme):
    network, batch = small_network(), small_batch(n=3, seed=seed % 1000)
    x = batch.image.round() if extreme else batch.image
    if channels_last:
        network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if precision in ("bfloat16", "float64"):
        network = network.to(getattr(torch, precision))
    attack = create_attack(AttackConfig("pgd", eps, norm=norm, steps=steps, step_size=step_size, random_start=start))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        x_adv = attack(network, x, batch.label, keys=sample_keys(batch.index, seed=seed))
    assert x_adv.dtype == torch.float32
    assert x_adv.stride() == x.stride()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    delta = (x_adv - x).flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert (size <= eps + 1e-6).all()


def test_zero_gradient():
    class Flat(nn.Module):
        def forward(self, x):
            return x.sum((1, 2, 3))[:, None] * torch.zeros(1, 4)

    batch = small_batch()
    y = torch.zeros(len(batch.label), dtype=torch.int64)
    assert torch.equal(fgsm("8/255")(Flat(), batch.image, y), batch.image)  # sign(0) = 0
    moved = pgd(0.5, norm="l2", steps=1, random_start=False)(Flat(), batch.image, y)
    assert ((moved - batch.image).flatten(1).norm(dim=1) > 0.1).all()  # a random direction instead of 0/0


def test_restarts_keep_the_best():
    network, batch = small_network(), small_batch(n=32)
    keys = sample_keys(batch.index)
    config = {"steps": 2, "step_size": "1/255"}
    single = pgd("2/255", **config).run(network, batch.image, batch.label, keys=keys)
    five = pgd("2/255", restarts=5, **config).run(network, batch.image, batch.label, keys=keys)
    assert (five.success >= single.success).all()
    assert (five.trace[-1] >= single.trace[-1])[~five.success].all()
    assert (five.trace[-1] > single.trace[-1]).any()
    successful = single.success
    assert torch.equal(five.x_adv[successful], single.x_adv[successful])


def test_targets():
    network, batch = small_network(), small_batch(n=64)
    logits, keys = network(batch.image), sample_keys(batch.index)
    y = batch.label
    least = logits.scatter(1, y[:, None], torch.inf).argmin(1)  # never the true class
    assert not torch.equal(least, logits.argmin(1))
    for config, expected in [
        (AttackConfig("fgsm"), y),
        (AttackConfig("fgsm", label="predicted"), logits.argmax(1)),
        (AttackConfig("fgsm", label="least_likely"), least),
        (AttackConfig("pgd", target="least_likely", steps=1), least),
        (AttackConfig("fgsm", target=2), torch.full_like(y, 2)),
        (AttackConfig("fgsm", target="random"), random_targets(y, 5, keys)),
    ]:
        result = create_attack(config).run(network, batch.image, y, keys=keys)
        assert torch.equal(result.target, expected)
    target = (y + 1) % 5
    result = fgsm("8/255").run(network, batch.image, y, target=target)
    assert torch.equal(result.target, target)
    assert (result.trace[1] > result.trace[0]).float().mean() > 0.9  # towards the target: minus its loss rises


def test_random_targets_are_uniform_over_the_other_classes():
    y = torch.arange(6).repeat(4000)
    targets = random_targets(y, 6, sample_keys(torch.arange(len(y))))
    counts = torch.zeros(6, 6).index_put((y, targets), torch.ones(len(y)), accumulate=True)
    assert counts.diagonal().sum() == 0
    off_diagonal = counts[~torch.eye(6, dtype=torch.bool)]
    assert (off_diagonal - 800).abs().max() < 5 * 800**0.5


def test_batch_norm_modes():
    """With bn=train the attack sees the batch's statistics, with eval the running ones."""
    network, batch = small_network().train(), small_batch()
    by_batch = create_attack(AttackConfig("fgsm"), bn="train")(network, batch.image, batch.label)
    by_running = create_attack(AttackConfig("fgsm"), bn="eval")(network, batch.image, batch.label)
    in_eval = create_attack(AttackConfig("fgsm"), bn="train")(network.eval(), batch.image, batch.label)
    assert not torch.equal(by_batch, by_running)
    assert torch.equal(by_running, in_eval)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "fgsm", "steps": 2}, "fgsm takes a single step, got steps=2"),
        ({"eps": 8}, 'write "8/255"'),
        ({"type": "pdg"}, r"attack type must be one of fgsm, bim, .*, got 'pdg' \(did you mean pgd\?\)"),
        (
            {"type": "pgd", "decay": 0.5},
            "decay is no setting of a pgd attack, which takes eps, eps_distribution, label",
        ),
        ({"restarts": 0}, "restarts must be 1 or more, got 0"),
        ({"restarts": 2}, "restarts=2 needs random_start"),
        ({"label": "wrong"}, "label must be true, predicted or least_likely"),
        ({"target": "wrong"}, "target must be least_likely, random or a class index"),
        ({"loss": "wrong"}, "loss must be one of"),
        ({"norm": "l1"}, "norm must be one of"),
        ({"type": "autoattack", "label": "least_likely"}, "autoattack is untargeted: label must be true or predicted"),
        ({"type": "square", "target": 1}, "square is untargeted: label must be true or predicted"),
        ({"type": "square", "queries": 0}, "queries must be 1 or more, got 0"),
        ({"type": "apgd", "loss": "margin"}, "loss must be cross_entropy, dlr or dlr_targeted, got 'margin'"),
        ({"type": "fab_t", "steps": 0}, "steps must be 1 or more, got 0"),
        ({"type": "pgd", "steps": 0}, "steps must be 1 or more, got 0"),
        ({"step_size": "9"}, "step_size is a fraction"),
    ],
)
def test_wrong_settings_are_refused_when_they_are_read(config, message):
    with pytest.raises(ValueError, match=message):
        AttackConfig(**config)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), r"x must be float32 \(or float64\) images"),
        (torch.zeros(3, 4, 4), r"images \[B, C, H, W\], got torch.float32 of shape \(3, 4, 4\)"),
        (torch.full((1, 3, 4, 4), 2.0), r"x must lie in \[0, 1\]"),
    ],
)
def test_wrong_images_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        fgsm()(small_network(), x, torch.zeros(1, dtype=torch.int64))


def test_missing_labels_and_impossible_targets_are_refused():
    network, batch = small_network(), small_batch()
    with pytest.raises(ValueError, match="pass y, or choose label: predicted"):
        fgsm()(network, batch.image)
    with pytest.raises(ValueError, match=r"class index in \[0, 4\], got 7"):
        fgsm(target=7)(network, batch.image, batch.label)
    fgsm(label="predicted")(network, batch.image)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda x: x.bfloat16(), r"x must be float32 \(or float64\) images .* got torch.bfloat16"),
        (lambda x: x * 255, r"x must lie in \[0, 1\], got values in \[0, 255\]"),
        (lambda x: x.clone().fill_(float("nan")), r"x must lie in \[0, 1\], got values in \[nan, nan\]"),
    ],
)
def test_images_of_another_type_or_range_are_refused(broken, message):
    batch = small_batch()
    with pytest.raises(ValueError, match=message):
        fgsm("8/255")(small_network(), broken(batch.image), batch.label)


def test_targets_among_some_classes():
    """Chosen as if the network had these outputs alone."""
    logits = torch.tensor([[0.0, 5, 3, 1, 2], [9, 1, 2, 8, 3]])
    keys = sample_keys(torch.arange(2))
    y = torch.tensor([4, 1])
    for rule, expected in (("least_likely", [3, 4]), ("random", None)):
        attack = pgd(0.1, target=rule)
        attack.classes = (1, 3, 4)
        targets = attack.aim(torch.zeros(2), logits, y, keys).resolve(logits)
        assert expected is None or targets.tolist() == expected
        assert set(targets.tolist()) <= {1, 3, 4}
    many = sample_keys(torch.arange(300))
    goal = attack.aim(torch.zeros(300), logits[:1].expand(300, 5), torch.full((300,), 3), many)
    counts = torch.bincount(goal.resolve(logits), minlength=5)
    assert counts[[0, 2, 3]].sum() == 0
    assert min(int(counts[1]), int(counts[4])) > 110
    with pytest.raises(ValueError, match="some labels are none of the 3 classes"):
        attack.aim(torch.zeros(2), logits, torch.tensor([0, 1]), keys).resolve(logits)
