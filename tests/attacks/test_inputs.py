"""What users pass as images and classes: one form for attacks, explanations and objectives, or one line that says."""

import numpy as np
import pytest
import torch
from helpers import small_batch, small_network
from torch import nn

from lightning_advinterp.attacks import AttackConfig, create_attack, fgsm
from lightning_advinterp.core.inputs import as_classes
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.explanations import Gradient
from lightning_advinterp.objectives import Consistency, Madry, Standard

ATTACKS = {
    "fgsm": AttackConfig("fgsm"),
    "pgd": AttackConfig("pgd", steps=2, restarts=2),
    "optimization": AttackConfig("optimization", weight=10.0, steps=2),
    "cw": AttackConfig("cw", steps=2, search_steps=2),
    "apgd": AttackConfig("apgd", steps=2),
    "fab_t": AttackConfig("fab_t", steps=2),
    "square": AttackConfig("square", queries=3),
    "random_sign": AttackConfig("random_sign"),
}


def by_attack(name):
    return lambda network, x, y: create_attack(ATTACKS[name])(network, x, y)


def by_objective(objective):
    return lambda network, x, y: objective(network, Batch(x, y, torch.arange(len(x))), epoch=0).total


DOORS = {
    **{name: by_attack(name) for name in ATTACKS},
    "target": lambda network, x, y: fgsm("4/255")(network, x, target=y),
    "explanation": lambda network, x, y: Gradient().map(network, x, y),
    "standard": by_objective(Standard()),
    "madry": by_objective(Madry(AttackConfig("fgsm", "4/255"))),
    "consistency": by_objective(Consistency(AttackConfig("fgsm", "4/255"))),
}


@pytest.fixture(params=DOORS, ids=DOORS)
def door(request):
    return DOORS[request.param]


@pytest.mark.parametrize(
    "form",
    [lambda y: y.int(), lambda y: y.to(torch.uint8), lambda y: y[:, None], lambda y: y.numpy(), lambda y: y.tolist()],
    ids=["int32", "uint8", "column", "numpy", "list"],
)
def test_every_form_of_class_indices_gives_the_same(door, form):
    network, batch = small_network(), small_batch()
    expected = door(network, batch.image, batch.label)
    torch.testing.assert_close(door(network, batch.image, form(batch.label)), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda y: nn.functional.one_hot(y, 5), r"of shape \(7, 5\), which looks like one-hot rows .* pass \w+.argmax"),
        (lambda y: nn.functional.one_hot(y, 5).float(), "one-hot rows or probabilities"),
        (lambda y: y.float(), r"got torch.float32 of shape \(7,\); pass \w+.long\(\)"),
        (lambda y: y[:3], r"for each of 7 images, got torch.int64 of shape \(3,\)"),
        (lambda y: ["cat"] * 7, "for each of 7 images, got list"),
        (lambda y: y + 5, r"must be classes 0 to 4 of the network, got 5 to 9"),
        (lambda y: y - 1, r"must be classes 0 to 4 of the network, got -1 to 3"),
    ],
    ids=["one-hot", "one-hot floats", "floats", "too few", "words", "beyond", "below"],
)
def test_anything_else_is_refused_in_words(door, form, message):
    network, batch = small_network(), small_batch(n=7)
    batch = batch._replace(label=torch.tensor([0, 1, 2, 3, 4, 1, 2]))
    with pytest.raises(ValueError, match=message):
        door(network, batch.image, form(batch.label))


@pytest.mark.parametrize("kind", [{}, {"random_start": True}, {"label": "predicted", "target": 9}])
def test_classes_beyond_a_foreign_network_are_refused(kind):
    """A plain module does not say how many classes it has; its logits do."""
    network, batch = nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), small_batch()
    with pytest.raises(ValueError, match=r"y must be classes 0 to 2|class index in \[0, 2\], got 9"):
        create_attack(AttackConfig("fgsm", **kind))(network, batch.image, batch.label + 3)


def test_numpy_images_are_refused_in_words():
    with pytest.raises(ValueError, match=r"x must be float32 .* got ndarray"):
        fgsm("4/255")(small_network(), np.zeros((1, 3, 16, 16), np.float32), torch.zeros(1))


@pytest.mark.parametrize("name", ATTACKS)
def test_rounding_beyond_the_box_is_clipped(name):
    network, batch = small_network(), small_batch()
    x = batch.image.clone()
    x[0, 0, 0, 0], x[1, 0, 0, 0] = 1 + 1.2e-7, -1e-8
    clipped, attack = x.clamp(0, 1), create_attack(ATTACKS[name])
    assert torch.equal(attack(network, x, batch.label), attack(network, clipped, batch.label))
    assert x.max() > 1  # the caller's


def test_the_refusal_of_other_values_shows_them():
    x = small_batch().image
    with pytest.raises(ValueError, match=r"got values in \[0, 1\.0001\]"):
        fgsm("4/255")(small_network(), x * 1.0001, torch.zeros(7, dtype=torch.int64))


@pytest.mark.parametrize("made_inside", [False, True], ids=["images before", "images inside"])
def test_inference_mode_changes_nothing(made_inside):
    network, batch = small_network(), small_batch()
    doors = {name: door for name, door in DOORS.items() if name not in ("standard", "madry", "consistency")}
    for name, door in doors.items():
        expected = door(network, batch.image, batch.label)
        with torch.inference_mode():
            inputs = [part.clone() if made_inside else part for part in (batch.image, batch.label)]
            result = door(network, *inputs)
        torch.testing.assert_close(result, expected, rtol=0, atol=0, msg=name)


def test_what_cannot_work_in_inference_mode_is_refused():
    batch = small_batch()
    with torch.inference_mode():
        network = small_network()
        with pytest.raises(ValueError, match=r"was made inside torch\.inference_mode"):
            fgsm("4/255")(network, batch.image, batch.label)
        with pytest.raises(ValueError, match="a training objective needs gradients"):
            Madry()(small_network(), batch, epoch=0)


def test_as_classes_names_the_argument():
    with pytest.raises(
        ValueError, match=r"^labels must hold one class, int64, for each of 2 images, got torch.int64 of"
    ):
        as_classes([[1, 2, 3]], 2, "labels")
