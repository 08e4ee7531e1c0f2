"""The control: random signs of the attack's size."""

import numpy as np
import torch
from helpers import small_batch, small_network

from lightning_advinterp.attacks import AttackConfig, create_attack
from lightning_advinterp.core.randomness import sample_keys


def test_every_pixel_moves_by_eps_or_to_the_box():
    network, batch = small_network(), small_batch(n=4)
    attack, eps = create_attack(AttackConfig("random_sign", "8/255")), np.float32(8 / 255)
    noisy = attack(network, batch.image, batch.label, keys=sample_keys(batch.index)).numpy()
    x = batch.image.numpy()
    up, down = (x + eps).clip(0, 1), (x - eps).clip(0, 1)
    assert np.all((noisy == up) | (noisy == down))
    assert 0.45 < (noisy > x).mean() < 0.55
    reseeded = attack(network, batch.image, batch.label, keys=sample_keys(batch.index, seed=1)).numpy()
    assert 0.4 < (reseeded != noisy).mean() < 0.6


def test_result_says_what_the_change_did():
    network, batch = small_network(), small_batch(n=4)
    result = create_attack(AttackConfig("random_sign", 0.5, target=3)).run(network, batch.image, batch.label)
    with torch.no_grad():
        gains = [network(at).log_softmax(1)[:, 3] for at in (batch.image, result.x_adv)]
    assert torch.equal(result.target, torch.full((4,), 3))
    torch.testing.assert_close(result.trace, torch.stack(gains))
