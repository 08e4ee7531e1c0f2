"""What the tests of objectives that make explanations robust share: a small network in float64, and attacks."""

import torch
from helpers import small_batch, small_network

from lightning_advinterp.attacks import AttackConfig

EPS, STEP = 8 / 255, 3 / 255
PGD = AttackConfig("pgd", EPS, steps=3, step_size=STEP)
PATH = {"attack": PGD, "path_steps": 4, "attack_path_steps": 2}
SIZE = 4
PIXELS = 3 * SIZE * SIZE


def network_and_batch(n=3):
    return small_network().double().train(), small_batch(n=n, size=SIZE, dtype=torch.float64)
