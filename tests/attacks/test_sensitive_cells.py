"""Masks of the most sensitive cells, against a loop over cells."""

import pytest
import torch
from helpers import assert_untouched, fingerprint, linear_network, small_batch, small_network
from reference import promotion as literal

from lightning_advinterp.attacks import AttackConfig, create_attack
from lightning_advinterp.attacks.prediction.sensitive_cells import SensitiveCells, content_keys


@pytest.mark.parametrize("effect", ["remove", "add", "symmetric"])
def test_against_a_loop_over_cells(effect):
    network, batch = small_network().double(), small_batch(n=5, dtype=torch.float64)
    targets = (batch.label + 1) % 5
    attack = create_attack(AttackConfig("bim", "32/255", steps=3))
    before = fingerprint(network)
    mask = SensitiveCells(attack, share=0.3, cell=5, effect=effect, chunk=7)(network, batch.image, batch.label, targets)
    assert_untouched(network, before)
    assert (mask.shape, mask.dtype) == ((5, 1, 16, 16), torch.bool)
    x_adv = attack(network, batch.image, batch.label, target=targets)
    scores = literal.cell_scores(network, batch.image, x_adv, targets, batch.label, 5)
    for image in range(5):
        cells = literal.effects([part[image] for part in scores])[effect, "raw"]
        ranked = sorted(range(16), key=lambda cell, cells=cells: -abs(sum(cells[cell])))
        expected = torch.zeros(16, 16, dtype=torch.bool)
        for cell in ranked[:5]:  # 0.3 of 16
            top, left = 5 * (cell // 4), 5 * (cell % 4)
            expected[top : top + 5, left : left + 5] = True
        assert torch.equal(mask[image, 0], expected)


def test_gradients_find_the_same_cells_of_a_linear_network():
    network, batch = linear_network(num_classes=5), small_batch(n=4, dtype=torch.float64)
    attack = create_attack(AttackConfig("pgd", "16/255", steps=2))
    masks = [
        SensitiveCells(attack, cell=4, screened=screened)(network, batch.image, batch.label) for screened in (0, 1)
    ]
    assert torch.equal(*masks)


def test_a_mask_is_the_image_s_own():
    network, batch = small_network().double(), small_batch(n=6, dtype=torch.float64)
    cells = SensitiveCells(create_attack(AttackConfig("pgd", "32/255", steps=2)), cell=4)  # with a random start
    masks = cells(network, batch.image, batch.label)
    part = cells(network, batch.image[3:], batch.label[3:])
    assert torch.equal(masks[3:], part)
    assert len(set(content_keys(batch.image).tolist())) == 6
    assert torch.equal(content_keys(batch.image)[2:], content_keys(batch.image[2:]))


def test_without_a_second_class_nothing_is_masked():
    network, batch = small_network().double(), small_batch(n=4, dtype=torch.float64)
    predicted = network(batch.image).argmax(1)
    still = create_attack(AttackConfig("fgsm", "0/255"))
    assert SensitiveCells(still, share=0.1, cell=4)(network, batch.image, predicted).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 0.0}, "share must be a share of the cells"),
        ({"effect": "both"}, "effect must be one of remove, add, sym"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SensitiveCells(create_attack("fgsm"), **wrong)
