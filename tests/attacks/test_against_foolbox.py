"""FGSM, BIM and PGD against foolbox, value by value in float64."""

import warnings

import foolbox
import pytest
import torch
from helpers import small_batch, small_network

from lightning_advinterp.attacks import bim, fgsm, pgd
from lightning_advinterp.data.image_folder import image_tensor
from lightning_advinterp.networks import create_network

EPS = 8 / 255
PAIRS = {
    "fgsm": (lambda: fgsm(EPS), lambda: foolbox.attacks.FGSM()),
    "bim": (
        lambda: bim(EPS, steps=5, step_size="2/255"),
        lambda: foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=2 / 255, steps=5),
    ),
    "pgd": (
        lambda: pgd(EPS, steps=10, step_size="2/255", random_start=False),
        lambda: foolbox.attacks.LinfPGD(abs_stepsize=2 / 255, steps=10, random_start=False),
    ),
    "pgd-l2": (
        lambda: pgd(2.0, norm="l2", steps=10, step_size=0.4, random_start=False),
        lambda: foolbox.attacks.L2PGD(abs_stepsize=0.4, steps=10, random_start=False),
    ),
    "fgsm-targeted": (
        lambda: fgsm(EPS, target=3),
        lambda: foolbox.attacks.FGSM(),
    ),
}


def by_foolbox(attack, network, x, y, eps, target=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
        if target is not None:
            # foolbox's FGSM has no targeted form: one targeted PGD step of length eps is one.
            attack = foolbox.attacks.LinfPGD(abs_stepsize=eps, steps=1, random_start=False)
            return attack.run(model, x, foolbox.criteria.TargetedMisclassification(target), epsilon=eps)
        return attack.run(model, x, foolbox.criteria.Misclassification(y), epsilon=eps)


@pytest.mark.parametrize("name", PAIRS)
def test_equals_foolbox(name):
    network, batch = small_network().double(), small_batch(n=16, dtype=torch.float64)
    ours, theirs = (make() for make in PAIRS[name])
    eps = 2.0 if "l2" in name else EPS
    target = torch.full_like(batch.label, 3) if "targeted" in name else None
    expected = by_foolbox(theirs, network, batch.image, batch.label, eps, target)
    adversarial, attacked = ours(network, batch.image, batch.label), slice(None)
    if target is not None:  # an image of the target's class is no one's to attack
        attacked = batch.label != target
        assert torch.equal(adversarial[~attacked], batch.image[~attacked])
    torch.testing.assert_close(adversarial[attacked], expected[attacked], rtol=0, atol=1e-12)


@pytest.mark.real
@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd"])
@pytest.mark.slow
def test_equals_foolbox_on_a_real_network(name, real_data):
    network = create_network("resnet18", real_data / "weights" / "resnet18_pqf.safetensors").double().eval()
    paths = sorted((real_data / "imagenet_1k").glob("*/*"))[::400]
    x = torch.stack([image_tensor(path, 72, 64) for path in paths]).double() / 255
    y = network(x).argmax(1)
    ours, theirs = (make() for make in PAIRS[name])
    expected = by_foolbox(theirs, network, x, y, EPS)
    assert (network(expected).argmax(1) != y).any()
    torch.testing.assert_close(ours(network, x, y), expected, rtol=0, atol=1e-12)
