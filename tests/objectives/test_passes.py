"""What a step costs: the forward and backward passes that each objective's documentation states, counted."""

from fractions import Fraction

import pytest
import torch
from helpers import small_batch, small_network
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.networks import Network, create_network
from lightning_advinterp.objectives import (
    AWP,
    Consistency,
    EnsembleAdversarial,
    Fast,
    Free,
    GradAlign,
    HessianNorm,
    IGNorm,
    IGSumNorm,
    Kurakin,
    Madry,
    Mart,
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
        (Mart(), (12, 10, 2), Fraction(26, 3)),
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


class Work(TorchDispatchMode):
    """Multiplications of convolutions and matrix products, at every order of differentiation."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **kwargs or {}, out_val=result)
        return result


def deep_network():
    """Equal convolutions behind a first one that costs next to nothing, as in large networks."""
    torch.manual_seed(0)
    layers = []
    for number in range(7):
        layers += [nn.Conv2d(32 if number else 3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))
    return Network(body, name="deep", num_classes=5, input_size=8, phi="20", head="23").train()


def work(objective):
    network, batch = deep_network(), small_batch(n=2, size=8)
    forwards = []
    network.backbone.register_forward_hook(lambda *_: forwards.append(1))
    with Work() as counted:
        loss = objective(network, batch, epoch=0)
        loss.total.backward(inputs=[*network.parameters(), *loss.inputs])
    return len(forwards), counted.total


PATH = {"attack": AttackConfig("pgd", "8/255", steps=3), "path_steps": 4, "attack_path_steps": 2}


@pytest.mark.parametrize(
    ("objective", "forwards", "cost"),
    [
        (Madry(AttackConfig("pgd", steps=3)), 4, 3),  # what the other test derives from counts, measured
        (AWP(base=Madry(AttackConfig("pgd", steps=3))), 5, 3 + 1),
        (AWP(base=Mart(AttackConfig("pgd", steps=3))), 7, 4 + 2),
        (AWP(base=Consistency()), 5, Fraction(8, 3) + 2),
        (GradAlign(), 4, Fraction(5, 3) + 4),
        (GradAlign(base=Consistency()), 4, Fraction(7, 3) + 4),
        (HessianNorm(), 2, 1 + Fraction(13, 3)),
        (HessianNorm(probes=3), 2, 1 + 2 + 3 * Fraction(7, 3)),
        (HessianNorm(bn="frozen"), 2, 1 + Fraction(13, 3)),
        (HessianNorm(base=Consistency()), 3, Fraction(7, 3) + Fraction(13, 3)),
        (IGNorm(**PATH), 1 + 3 * 2 + 4, 1 + 3 * 2 * Fraction(5, 3) + 4 * 2),
        (IGNorm(**PATH, bn="eval"), 1 + 3 * 2 + 4, 1 + 3 * 2 * Fraction(5, 3) + 4 * 2),
        (IGNorm(**PATH, maximise="loss"), 1 + 3 + 4, 1 + 3 * Fraction(2, 3) + 4 * 2),
        (IGNorm(**PATH, recompute=True), 1 + 3 * 2 + 4 + 4, 1 + 3 * 2 * Fraction(5, 3) + 4 * (2 + Fraction(2, 3))),
        (IGNorm(**PATH, base=Consistency()), 2 + 3 * 2 + 4, Fraction(7, 3) + 3 * 2 * Fraction(5, 3) + 4 * 2),
        (IGSumNorm(**PATH), 1 + 3 * 2 + 4, 1 + 3 * 2 * Fraction(5, 3) + 4 * 2),
    ],
)
def test_work_where_gradients_are_differentiated(objective, forwards, cost):
    """Measured in multiplications: convolutions are all that counts here, and a backward pass is not one piece."""
    passes, total = work(objective)
    assert passes == forwards
    assert total / work(Standard())[1] == pytest.approx(float(cost), rel=0.02)
