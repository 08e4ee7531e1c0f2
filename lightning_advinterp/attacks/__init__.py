"""Attacks: a loop over an objective, a step and a threat model, in pixel space [0, 1]."""

from lightning_advinterp.attacks.attack import Attack, AttackResult
from lightning_advinterp.attacks.budget import Budget, parse_budget, parse_pixels
from lightning_advinterp.attacks.config import AttackConfig
from lightning_advinterp.attacks.gradient import GradientAttack
from lightning_advinterp.attacks.presets import bim, create_attack, fgsm, pgd
from lightning_advinterp.randomness import sample_keys

__all__ = [
    "Attack",
    "AttackConfig",
    "AttackResult",
    "Budget",
    "GradientAttack",
    "bim",
    "create_attack",
    "fgsm",
    "parse_budget",
    "parse_pixels",
    "pgd",
    "sample_keys",
]
