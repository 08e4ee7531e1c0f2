"""Attacks: a loop over an objective, a step and a threat model, in pixel space [0, 1]."""

from lightning_advinterp.attacks.attack import Attack, AttackResult
from lightning_advinterp.attacks.budget import Budget, parse_budget, parse_pixels
from lightning_advinterp.attacks.calibration import Calibration, calibrate
from lightning_advinterp.attacks.carlini_wagner import CarliniWagnerAttack
from lightning_advinterp.attacks.config import AttackConfig, Member
from lightning_advinterp.attacks.ensemble import Ensemble, least_likely_targets
from lightning_advinterp.attacks.ensemble_attack import EnsembleAttack
from lightning_advinterp.attacks.explanation import ExplanationAttack
from lightning_advinterp.attacks.explanation_presets import (
    EXPLANATION_ATTACKS,
    ExplanationAttackConfig,
    create_explanation_attack,
)
from lightning_advinterp.attacks.gradient import GradientAttack
from lightning_advinterp.attacks.influence import InfluenceAttack
from lightning_advinterp.attacks.optimization import OptimizationAttack
from lightning_advinterp.attacks.presets import bim, create_attack, fgsm, pgd
from lightning_advinterp.attacks.transfer import TransferAttack
from lightning_advinterp.randomness import sample_keys

__all__ = [
    "EXPLANATION_ATTACKS",
    "Attack",
    "AttackConfig",
    "AttackResult",
    "Budget",
    "Calibration",
    "CarliniWagnerAttack",
    "Ensemble",
    "EnsembleAttack",
    "ExplanationAttack",
    "ExplanationAttackConfig",
    "GradientAttack",
    "InfluenceAttack",
    "Member",
    "OptimizationAttack",
    "TransferAttack",
    "bim",
    "calibrate",
    "create_attack",
    "create_explanation_attack",
    "fgsm",
    "least_likely_targets",
    "parse_budget",
    "parse_pixels",
    "pgd",
    "sample_keys",
]
