"""Own, transferred and ensemble images side by side: what each attack is made on, and what it is called."""

import pytest
import torch
from helpers import small_batch, small_network

from lightning_advinterp.attacks import AttackConfig, create_attack
from lightning_advinterp.attacks.prediction.config import Member
from lightning_advinterp.attacks.prediction.ensemble import Ensemble
from lightning_advinterp.attacks.prediction.transfer import TransferAttack, made_on
from lightning_advinterp.attacks.prediction.transferred import transferred_attacks

KINDS = [
    AttackConfig("fgsm", 0.1), AttackConfig("pgd", 0.1, steps=4), AttackConfig("pgd", 0.1, steps=4, target=2),
    AttackConfig("apgd", 0.1, steps=4), AttackConfig("cw", steps=10, search_steps=2, initial_weight=1.0),
    AttackConfig("mifgsm", 0.1, steps=3), AttackConfig("targeted_optimization", weight=1.0, steps=4),
]  # fmt: skip


def networks():
    pair = []
    for seed in (0, 1):
        network = small_network(seed=seed).double()
        with torch.no_grad():
            network.backbone.fc.bias.sub_(network(small_batch(n=6, dtype=torch.float64).image).mean(0))
        pair.append(network)
    return pair


@pytest.mark.parametrize("config", KINDS, ids=lambda config: f"{config.type} {config.target}")
def test_made_on_another_network_is_the_attack_on_that_network(config):
    (network, source), batch, keys = networks(), small_batch(n=6, dtype=torch.float64), torch.arange(6)
    inner = create_attack(config)
    attack = made_on(create_attack(config), [source], "loss", beside=False)
    assert (attack.targeted, attack.target, attack.label) == (inner.targeted, inner.target, inner.label)
    target = torch.full((6,), 3) if inner.targeted else None
    expected = inner(source, batch.image, batch.label, target=target, keys=keys)
    x_adv = attack(network, batch.image, batch.label, target=target, keys=keys)
    assert torch.allclose(x_adv, expected, rtol=0, atol=1e-7)
    assert not torch.equal(x_adv, batch.image)
    assert attack.passes == inner.passes
    assert attack.made_for(network)["made_for"] == "another network"
    assert attack.made_for(source)["made_for"] == "this network"


def test_the_ensemble_is_of_the_attacked_network_and_the_others():
    (network, source), batch, keys = networks(), small_batch(n=6, dtype=torch.float64), torch.arange(6)
    config = AttackConfig("pgd", 0.1, steps=3)
    attack = made_on(create_attack(config), [source], "loss", beside=True)
    x_adv = attack(network, batch.image, batch.label, keys=keys)
    climbing = create_attack(config)
    climbing.loss = "negative_log"
    expected = climbing(Ensemble([network, source]), batch.image, batch.label, keys=keys)
    assert torch.allclose(x_adv, expected, rtol=0, atol=1e-9)
    assert attack.passes == (6, 6)
    assert attack.made_for(network)["made_for"] == "ensemble"
    assert len(attack.made_for(network)["sources"]) == 2
    with pytest.raises(ValueError, match="beside needs a network"):
        attack(network.backbone, batch.image, batch.label, keys=keys)


def test_their_names_say_on_what_they_are_made(tmp_path):
    (tmp_path / "standard").mkdir()
    (tmp_path / "theirs").mkdir()
    checkpoint = tmp_path / "standard" / "last.ckpt"
    attacks = [AttackConfig("pgd", 0.1), AttackConfig("random_sign", 0.1), AttackConfig("fgsm", 0.1, name="weak")]
    configs = transferred_attacks(attacks, [str(checkpoint), str(tmp_path / "theirs")])
    assert [config.label_name for config in configs] == [
        "pgd", "pgd_from_standard", "pgd_ensemble", "random_sign", "weak", "weak_from_standard", "weak_ensemble",
        "from_theirs",
    ]  # fmt: skip
    assert configs[1].members == (Member(checkpoint=str(checkpoint)),)
    assert (configs[1].beside, configs[2].beside, configs[-1].type) == (None, True, "stored")
    assert isinstance(configs[2].create(), TransferAttack)
    assert transferred_attacks(attacks, None) == tuple(attacks)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("resnet50", "is no checkpoint and no folder.*needs its weights, {network: resnet50, weights: FILE}."),
        ("Carmon2019Unlabeled", "{network: robustbench:Carmon2019Unlabeled, weights: FILE}, with the file that"),
        ("cifar10/L2/Rice2020Overfitting", "{network: robustbench:cifar10/L2/Rice2020Overfitting, weights: FILE}"),
        (["a/last.ckpt", "b/a.ckpt"], "two sources are called 'a'"),
    ],
)
def test_what_is_no_source_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        transferred_attacks([AttackConfig("pgd", 0.1)], source)


def test_there_must_be_an_attack_to_transfer():
    with pytest.raises(ValueError, match="no attack is named"):
        transferred_attacks([AttackConfig("random_sign", 0.1)], "a/last.ckpt")


def test_what_looks_at_no_network_is_made_on_none():
    with pytest.raises(ValueError, match="members is no setting"):
        AttackConfig("random_sign", 0.1, members=(Member(checkpoint="a.ckpt"),))
    with pytest.raises(ValueError, match="beside is no setting"):
        AttackConfig("pgd", 0.1, beside=True)
