"""What a step costs: the forward and backward passes that each objective's documentation states, counted."""

from fractions import Fraction

import pytest
import torch
from helpers import small_batch, small_network

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.networks import create_network
from lightning_advinterp.objectives import (
    Consistency,
    EnsembleAdversarial,
    Fast,
    Free,
    Kurakin,
    Madry,
    SourceNetwork,
    Standard,
    Trades,
)


class Counter:
    """Counts passes by hooks on the logits: full backward passes are those after the loss is there."""

    def __init__(self, *networks):
        self.forward, self.backward, self.in_loss = 0, [0, 0], False
        for network in networks:
            network.backbone.register_forward_hook(self._forward)

    def _forward(self, _module, _images, logits):
        self.forward += 1
        if logits.requires_grad:
            logits.register_hook(self._backward)

    def _backward(self, _gradient):
        self.backward[self.in_loss] += 1

    def count(self, objective, network, batch, epoch=0):
        loss = objective(network, batch, epoch=epoch)
        self.in_loss = True
        loss.total.backward(inputs=[*network.parameters(), *loss.inputs])
        return self.forward, *self.backward


@pytest.mark.parametrize(
    ("objective", "passes", "cost"),
    [
        (Standard(), (1, 0, 1), 1),
        (Free(), (1, 0, 1), 1),
        (Fast(), (2, 1, 1), Fraction(5, 3)),
        (Fast(AttackConfig("nfgsm")), (2, 1, 1), Fraction(5, 3)),
        (Madry(), (11, 10, 1), 1 + Fraction(20, 3)),
        (Trades(), (13, 10, 2), 9),
        (Trades(AttackConfig("trades", steps=3)), (6, 3, 2), Fraction(7 + 6, 3)),
        (Consistency(), (2, 1, 2), Fraction(7, 3)),
        (Consistency(bn="eval"), (3, 1, 2), Fraction(8, 3)),
        (Consistency(AttackConfig("fgsm_rs")), (3, 1, 2), 2 + Fraction(2, 3)),
        # its objective is not the loss alone, so the clean pass cannot serve
        (Consistency(AttackConfig("optimization", steps=1, weight=1.0)), (3, 1, 2), 2 + Fraction(2, 3)),
        (Consistency(AttackConfig("pgd", steps=3)), (5, 3, 2), 2 + 2),
        (Consistency(AttackConfig("trades"), trades_beta=6.0, bn="eval"), (13, 10, 2), 9),
    ],
)
def test_passes_and_cost(objective, passes, cost):
    network = small_network().train()
    forward, to_input, full = counted = Counter(network).count(objective, network, small_batch())
    assert counted == passes
    assert Fraction(forward + to_input + 2 * full, 3) == cost


def test_kurakin_attacks_half_of_a_batch():
    network = small_network().train()
    assert Counter(network).count(Kurakin(), network, small_batch()) == (2, 1, 1)
    assert Fraction(3, 3) + Fraction(1 + 1, 2 * 3) == Fraction(4, 3)


@pytest.mark.parametrize(("attack", "forward"), [(None, 3), (AttackConfig("rand_fgsm", label="predicted"), 4)])
@pytest.mark.parametrize("from_source", [True, False])
def test_ensemble(tmp_path, attack, forward, from_source):
    torch.save(create_network("cifar_resnet20", num_classes=5).backbone.state_dict(), tmp_path / "source.pth")
    static = [SourceNetwork(network="cifar_resnet20", weights=str(tmp_path / "source.pth"))]
    objective = EnsembleAdversarial(static) if attack is None else EnsembleAdversarial(static, attack)
    network, batch = small_network().train(), small_batch()
    epoch = next(e for e in range(50) if (objective.source_number(objective.keys(batch, e)) == 0) == from_source)
    assert Counter(network, *objective._sources).count(objective, network, batch, epoch) == (forward, 1, 2)


@pytest.mark.parametrize("objective", [Consistency(), Madry(AttackConfig("pgd", steps=1))])
def test_a_profile_shows_the_attack(objective):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        objective(small_network().train(), small_batch(), epoch=0)
    assert [event.count for event in profile.key_averages() if event.key == "attack"] == [1]
