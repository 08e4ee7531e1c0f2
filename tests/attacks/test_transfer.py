"""Attacks made on other networks: equal to the attack on the source itself, whatever network they are shown to."""

import pytest
import torch
from helpers import assert_untouched, fingerprint, small_batch
from torch import nn

from lightning_advinterp.attacks import AttackConfig, Member, create_attack, pgd, sample_keys
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.checkpoint import CHECKPOINT_FORMAT


@pytest.fixture(scope="module")
def sources():
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(create_network("cifar_resnet20", num_classes=10).eval())
    return networks


@pytest.fixture
def batch():
    return small_batch(n=4, size=32)


def test_from_one_source_it_is_the_attack_on_that_source(sources, batch):
    source, victim = sources
    keys = sample_keys(batch.index)
    before = fingerprint(victim), fingerprint(source)
    config = AttackConfig("transfer", "8/255", steps=3, restarts=2, members=(Member("cifar_resnet20"),))
    attack = create_attack(config)
    attack.members = (source,)
    attacked = attack.run(victim, batch.image, batch.label, keys=keys)
    expected = pgd("8/255", steps=3, restarts=2).run(source, batch.image, batch.label, keys=keys)
    assert torch.equal(attacked.x_adv, expected.x_adv)
    assert torch.equal(attacked.success, expected.success)
    for network, old in zip((victim, source), before, strict=True):
        assert_untouched(network, old)
    on_other = pgd("8/255", steps=3, restarts=2)(victim, batch.image, batch.label, keys=keys)
    assert not torch.equal(attacked.x_adv, on_other)


def test_from_several_sources_it_climbs_their_mean_loss(sources, batch):
    """One step without a random start: x + ε·sign of the mean loss' gradient."""
    attack = create_attack(AttackConfig("transfer", "8/255", steps=1, random_start=False, members=(Member("x"),) * 2))
    attack.members = tuple(sources)
    x = batch.image.clone().requires_grad_()
    loss = sum(nn.functional.cross_entropy(source(x), batch.label, reduction="sum") for source in sources)
    (gradient,) = torch.autograd.grad(loss, x)
    expected = (batch.image + 8 / 255 * gradient.sign()).clamp(0, 1)
    torch.testing.assert_close(attack(nn.Identity(), batch.image, batch.label), expected, rtol=0, atol=1e-6)
    assert attack.passes == (2, 2)


def test_a_source_may_be_a_checkpoint_of_this_project(sources, batch, tmp_path):
    source = sources[0]
    state = {f"network.{key}": value for key, value in source.state_dict().items()}
    network = {"name": "cifar_resnet20", "num_classes": 10}
    meta = {"format": CHECKPOINT_FORMAT, "network": network, "classes": [], "seed": 0}
    torch.save({"state_dict": state, "advinterp": meta, "epoch": 0}, tmp_path / "last.ckpt")
    config = AttackConfig("transfer", eps="8/255", steps=2, members=(Member(checkpoint=str(tmp_path / "last.ckpt")),))
    adversarial = create_attack(config)(sources[1], batch.image, batch.label)
    assert torch.equal(adversarial, pgd("8/255", steps=2)(source, batch.image, batch.label))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs either network"),
        ({"network": "resnet18", "checkpoint": "last.ckpt"}, "needs either network"),
        ({"checkpoint": "last.ckpt", "weights": "a.pth"}, "a checkpoint takes no weights; leave weights='a.pth' out"),
    ],
)
def test_a_wrong_member_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Member(**settings)


def test_no_source_is_refused():
    with pytest.raises(ValueError, match="members must name at least one network, got none"):
        AttackConfig("transfer")
