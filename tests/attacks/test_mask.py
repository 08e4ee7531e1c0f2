"""Masks in the threat model: no attack changes a pixel outside, and what they do inside is what they do without."""

import pytest
import torch
from helpers import small_batch, small_network

from lightning_advinterp.attacks import AttackConfig, create_attack
from lightning_advinterp.attacks.loop.mask import rivals
from lightning_advinterp.attacks.prediction.builders import BUILDERS
from lightning_advinterp.attacks.prediction.cam_mask import CamMask
from lightning_advinterp.attacks.prediction.mask_config import MaskConfig
from lightning_advinterp.attacks.prediction.sensitive_cells import SensitiveCells
from lightning_advinterp.attacks.prediction.transfer import TransferAttack
from lightning_advinterp.explanations import CAM, GradCAM

WITHOUT_MASK = {"square", "autoattack", "stored"}
NAMED = {"type": "cam", "percentile": 70}
SEARCH = {"steps": 40, "search_steps": 4, "initial_weight": 1.0}
MORE = {
    "optimization": {"weight": 1.0},
    "targeted_optimization": {"weight": 1.0},
    "cw": SEARCH,
    "ead": {**SEARCH, "regularization": 1e-3},
    "apgd": {"steps": 5},
    "apgd_t": {"steps": 5},
    "fab_t": {"steps": 5},
}
NEAREST = ("fab_t", "ead", "cw")
"""Give images back that they find nothing for."""
L2 = ("fgsm", "bim", "pgd", "apgd", "apgd_t", "fab_t", "transfer")


class Striped:
    """Every third column may change; counts how often it is asked."""

    passes = (0, 0)

    def __init__(self):
        self.asked = []

    def __call__(self, network, images, labels, targets):
        self.asked.append((labels, targets))
        mask = torch.zeros(len(images), 1, *images.shape[2:], dtype=torch.bool)
        mask[..., ::3] = True
        mask[0] = False  # an image of which nothing may change
        return mask


def balanced_network():
    """A network whose classes are all near, so that attacks that look for the nearest success find one."""
    network = small_network().double()
    with torch.no_grad():
        network.backbone.fc.bias.sub_(network(small_batch(n=6, dtype=torch.float64).image).mean(0))
    return network


def attacks():
    for kind in BUILDERS:
        if kind in WITHOUT_MASK or kind in ("ensemble", "transfer"):
            continue
        for norm in ("linf", *(("l2",) if kind in L2 else ())):
            radius = {} if BUILDERS[kind].eps is None else {"eps": 0.3 if norm == "linf" else 2.0}
            settings = {"type": kind, **radius, **MORE.get(kind, {})}
            yield f"{kind} {norm}", settings | ({"norm": norm} if norm == "l2" else {})
    yield "pgd restarts", {"type": "pgd", "eps": 0.3, "restarts": 3, "steps": 3}
    yield "pgd stops", {"type": "pgd", "eps": 0.3, "steps": 6, "stop_after": 1}
    yield "nfgsm step", {"type": "nfgsm", "eps": 0.1, "step_size": 0.5}
    yield "pgd targeted", {"type": "pgd", "eps": 0.3, "target": 1}


@pytest.mark.parametrize("settings", dict(attacks()).values(), ids=dict(attacks()))
def test_no_pixel_outside_the_mask_changes(settings):
    network, batch, mask = balanced_network(), small_batch(n=6, dtype=torch.float64), Striped()
    batch = batch._replace(label=network(batch.image).argmax(1))  # all are attacked, also by those that spare errors
    attack = create_attack(settings).masked(mask)
    x_adv = attack(network, batch.image, batch.label)
    outside = ~mask(network, batch.image, None, None).expand_as(batch.image)
    assert torch.equal(x_adv[outside], batch.image[outside])
    assert torch.equal(x_adv[0], batch.image[0])
    changed = ((x_adv - batch.image)[1:] != 0).flatten(1).any(1)
    assert bool(changed.all() if settings["type"] not in NEAREST and "target" not in settings else changed.any())
    if attack.eps is not None and settings["type"] != "nfgsm":
        delta = (x_adv - batch.image).flatten(1)
        reached = delta.norm(dim=1) if settings.get("norm") == "l2" else delta.abs().amax(1)
        assert bool((reached <= attack.eps + 1e-9).all())


def test_transferred_and_ensemble_attacks_keep_to_masks():
    members = (small_network(seed=1).double(), small_network(seed=2).double())
    batch, mask = small_batch(n=4, dtype=torch.float64), Striped()
    inner = create_attack({"type": "pgd", "eps": 0.3})
    attack = TransferAttack(inner, members).masked(mask)
    x_adv = attack(small_network().double(), batch.image, batch.label)
    outside = ~mask(None, batch.image, None, None).expand_as(batch.image)
    assert torch.equal(x_adv[outside], batch.image[outside])
    assert bool((x_adv != batch.image).any())


@pytest.mark.parametrize("kind", sorted({"pgd", "apgd", "cw", "ead", "mifgsm", "fab_t", "targeted_optimization"}))
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_mask_of_all_pixels_is_no_mask(kind, norm):
    if norm == "l2" and kind not in L2:
        norm = "linf"
    network, batch = balanced_network(), small_batch(n=6, dtype=torch.float64)
    radius = {} if BUILDERS[kind].eps is None else {"eps": 0.2 if norm == "linf" else 1.0}
    attack = create_attack({"type": kind, **radius, **MORE.get(kind, {})} | ({"norm": norm} if norm == "l2" else {}))
    all_pixels = attack.masked(lambda network, images, labels, targets: images[:, :1] >= 0)
    batch = batch._replace(label=network(batch.image).argmax(1))
    plain = attack(network, batch.image, batch.label)
    assert not torch.equal(plain, batch.image)
    assert torch.allclose(all_pixels(network, batch.image, batch.label), plain, rtol=0, atol=1e-9)


def test_masked_fgsm_is_fgsm_inside():
    network, batch, mask = small_network().double(), small_batch(n=4, dtype=torch.float64), Striped()
    attack = create_attack({"type": "fgsm", "eps": 0.1})
    inside = mask(network, batch.image, None, None)
    expected = torch.where(inside, attack(network, batch.image, batch.label), batch.image)
    assert torch.equal(attack.masked(mask)(network, batch.image, batch.label), expected)


def test_a_mask_is_told_the_true_class_and_the_target():
    network, batch = small_network(), small_batch(n=5)
    logits = network(batch.image)
    for settings, expected in (
        ({}, rivals(logits, batch.label)),
        ({"target": 3}, torch.full((5,), 3)),
        ({"target": "least_likely"}, logits.scatter(1, batch.label[:, None], torch.inf).argmin(1)),
    ):
        mask = Striped()
        create_attack({"type": "fgsm", **settings}).masked(mask)(network, batch.image, batch.label)
        ((labels, targets),) = mask.asked
        assert labels.tolist() == batch.label.tolist()
        assert targets.tolist() == expected.tolist()


def test_cam_masks_are_the_union_of_both_regions():
    network, batch = small_network().double(), small_batch(n=4, dtype=torch.float64)
    classes = batch.label, (batch.label + 1) % 5
    masks = CamMask(70)(network, batch.image, *classes)
    expected = torch.zeros_like(masks)
    for target in classes:
        for place, cam in enumerate(CAM().explain(network, batch.image, target).sum(1)):
            values = sorted(cam.flatten().tolist())
            expected[place, 0] |= cam > values[round(0.7 * len(values)) - 1]
    assert torch.equal(masks, expected)
    share = masks.double().mean((1, 2, 3))
    assert bool(((share >= 0.29) & (share <= 0.61)).all())


def test_grad_cam_stands_in_where_the_head_is_no_linear_layer():
    network, batch = small_network().double(), small_batch(n=2, dtype=torch.float64)
    network.backbone.fc = torch.nn.Sequential(network.backbone.fc, torch.nn.Tanh())
    masks = CamMask(50)(network, batch.image, batch.label, batch.label)
    cam = GradCAM().explain(network, batch.image, batch.label).sum(1)
    assert torch.equal(masks[:, 0], cam > cam.flatten(1).kthvalue(128, dim=1).values[:, None, None])


def test_configurations_say_masks():
    attack = create_attack({"type": "pgd", "eps": 0.2, "mask": NAMED})
    assert attack.mask == CamMask(70)
    assert "CamMask(percentile=70" in repr(attack)
    path = f"{CamMask.__module__}.CamMask"
    assert AttackConfig("cw", mask=MaskConfig(path, percentile=60)).create().mask == CamMask(60)
    assert create_attack({"type": "pgd", "mask": {"type": path, "options": {"percentile": 50}}}).mask == CamMask(50)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "square", "mask": NAMED}, "keeps to a mask"),
        ({"type": "autoattack", "mask": NAMED}, "keeps to a mask"),
        ({"type": "pgd", "mask": {"type": "cam", "percentile": 100}}, "mask.percentile must be from 0 to below 100"),
        ({"type": "pgd", "mask": {"type": "grid"}}, "mask.type must be cam"),
        ({"type": "pgd", "mask": {"type": "cam", "options": {"a": 1}}}, "mask.options belong to"),
    ],
)
def test_what_is_no_mask_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        create_attack(settings)


def test_a_mask_of_another_shape_is_refused():
    network, batch = small_network(), small_batch(n=2)
    attack = create_attack("fgsm").masked(lambda network, images, labels, targets: images > 0)
    with pytest.raises(ValueError, match=r"mask must return bool \[2, 1, 16, 16\]"):
        attack(network, batch.image, batch.label)


@pytest.mark.parametrize("kind", ["fgsm", "pgd", "cw", "ead"])
def test_an_attack_is_refined_to_the_cells_that_its_own_change_depends_on(kind):
    network, batch = balanced_network(), small_batch(n=6, dtype=torch.float64)
    settings = {"eps": "32/255"} if BUILDERS[kind].eps is not None else {}
    settings |= MORE.get(kind, {})
    plain = create_attack({"type": kind, **settings})
    refined = create_attack({"type": kind, **settings, "mask": {"type": "cells", "share": 0.25, "cell": 4}})
    targets = rivals(network(batch.image), batch.label)
    allowed = SensitiveCells(plain, share=0.25, cell=4)(network, batch.image, batch.label, targets)
    changed = (refined(network, batch.image, batch.label) - batch.image).abs().amax(1, keepdim=True) > 0
    assert changed.any()
    assert not (changed & ~allowed).any()
    assert set(allowed.sum((1, 2, 3)).tolist()) <= {64, 256}, "a quarter; the whole where there is no second class"
    assert (allowed.sum((1, 2, 3)) == 64).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0}, r"mask.share must be a share of the cells in \(0, 1\]"),
        ({"cell": 0}, "mask.cell must be 1 pixel"),
    ],
)
def test_wrong_settings_of_cells_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MaskConfig("cells", **settings)


def test_what_a_mask_takes_is_counted():
    """Every pass of the network, against what is announced: the clean logits, both maps, and the attack's steps."""
    network, batch = small_network(), small_batch(n=2)
    plain, masked = (create_attack({"type": "pgd", "eps": 0.1, "steps": 3} | more) for more in ({}, {"mask": NAMED}))
    assert plain.cost == plain.passes == masked.passes
    shown = []
    with network.register_forward_pre_hook(lambda module, arguments: shown.append(len(arguments[0]))):
        masked(network, batch.image, batch.label)
    assert plain.cost[0] < len(shown) <= masked.cost[0]
    assert masked.cost == (plain.cost[0] + 1 + masked.mask.passes[0], plain.cost[1] + masked.mask.passes[1])


class Costless:
    def __call__(self, network, images, labels, targets):
        raise AssertionError


def test_a_mask_that_hides_its_cost_is_refused():
    with pytest.raises(ValueError, match="must say what it costs"):
        create_attack({"type": "pgd", "mask": {"type": f"{__name__}.Costless"}})
