"""EAD, value by value as foolbox computes it."""

import eagerpy
import foolbox
import pytest
import torch
from helpers import linear_network, small_batch, small_network

from lightning_advinterp.attacks import create_attack
from lightning_advinterp.attacks.prediction.elastic_net import shrink

SETTINGS = {"steps": 40, "search_steps": 4, "initial_weight": 0.1}
CASES = {
    "untargeted": {},
    "l1": {"decision": "l1"},
    "targeted": {"target": 2},
    "confident": {"confidence": 0.5},
    "confident and targeted": {"confidence": 0.5, "target": 2},
    "ten steps of the search": {"search_steps": 10, "steps": 12},
    "sparse": {"regularization": 0.03, "step_size": 0.05},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_foolbox(case):
    """One image at a time, since foolbox ends a descent by the whole batch's loss; float64."""
    network, batch = linear_network().eval(), small_batch(n=4, num_classes=10, dtype=torch.float64)
    x, settings = batch.image, SETTINGS | case
    y = network(x).argmax(1)
    assert 2 not in y.tolist()
    ours = create_attack({"type": "ead", **settings}).run(network, x, y)
    theirs = foolbox.attacks.EADAttack(
        binary_search_steps=settings["search_steps"],
        steps=settings["steps"],
        initial_stepsize=settings.get("step_size", 1e-2),
        confidence=settings.get("confidence", 0.0),
        initial_const=settings["initial_weight"],
        regularization=settings.get("regularization", 1e-2),
        decision_rule=settings.get("decision", "en").upper(),
    )
    model = foolbox.PyTorchModel(network, bounds=(0, 1))
    for image, label, x_adv, success in zip(x, y, ours.x_adv, ours.success, strict=True):
        target = torch.tensor([settings.get("target", 0)])
        goal = (
            foolbox.criteria.TargetedMisclassification(target)
            if "target" in settings
            else foolbox.criteria.Misclassification(label[None])
        )
        expected = theirs.run(model, image[None].clone(), goal)[0]
        expected = expected.raw if isinstance(expected, eagerpy.Tensor) else expected
        if bool((expected == 0).all()):  # so it says that there is none
            assert not success
            assert torch.equal(x_adv, image)
        else:
            assert success
            assert torch.allclose(x_adv, expected, rtol=0, atol=1e-10)
    assert bool(ours.success.any())


def test_no_image_depends_on_its_batch():
    network, batch = small_network().double(), small_batch(n=5, dtype=torch.float64)
    attack = create_attack({"type": "ead", "steps": 20, "search_steps": 3, "initial_weight": 10.0})
    x_adv = attack(network, batch.image, batch.label)
    for place in range(5):
        alone = attack(network, batch.image[place : place + 1], batch.label[place : place + 1])
        assert torch.allclose(alone[0], x_adv[place], rtol=0, atol=1e-12)


def test_a_hand_worked_shrinkage():
    x = torch.tensor([0.5, 0.5, 0.5, 0.95, 0.5])
    point = torch.tensor([0.8, 0.55, 0.2, 1.4, 0.4])
    assert torch.allclose(shrink(point, x, 0.1), torch.tensor([0.7, 0.5, 0.3, 1.0, 0.5]))


def test_fewer_pixels_change_than_under_carlini_wagner():
    network, batch = linear_network().eval(), small_batch(n=4, num_classes=10, dtype=torch.float64)
    y = network(batch.image).argmax(1)
    settings = {"steps": 100, "search_steps": 4, "initial_weight": 0.1}
    changed = {}
    for kind in ("ead", "cw"):
        result = create_attack({"type": kind, **settings}).run(network, batch.image, y)
        assert bool(result.success.all())
        changed[kind] = ((result.x_adv - batch.image).abs() > 1e-6).double().mean()
    assert changed["ead"] < 0.5 * changed["cw"]


def test_it_says_what_it_costs_and_refuses_what_it_cannot():
    attack = create_attack({"type": "ead", "steps": 5, "search_steps": 2})
    assert (attack.passes, attack.eps, attack.eps_norm) == ((21, 10), None, None)
    calls = []
    network = small_network()
    network.register_forward_hook(lambda *_: calls.append(1))
    batch = small_batch(n=2)
    attack.perturb(network, batch.image, batch.label, target=None, keys=torch.arange(2))
    assert len(calls) <= attack.passes[0]
    wrong = {"decision": "l2", "regularization": -1.0, "eps": 0.1}
    for setting, value in wrong.items():
        with pytest.raises(ValueError, match=setting):
            create_attack({"type": "ead", setting: value})
