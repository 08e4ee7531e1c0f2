"""Attacks: a loop over an objective, a step and a threat model, in pixel space [0, 1]."""

from lightning_advinterp.attacks.explanation.config import ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.attacks.explanation.explanation import ExplanationAttack
from lightning_advinterp.attacks.explanation.influence import InfluenceAttack
from lightning_advinterp.attacks.explanation.presets import EXPLANATION_ATTACKS
from lightning_advinterp.attacks.loop.attack import Attack, AttackResult
from lightning_advinterp.attacks.loop.budget import Budget, parse_budget, parse_pixels
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.prediction.calibration import Calibration, calibrate
from lightning_advinterp.attacks.prediction.carlini_wagner import CarliniWagnerAttack
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.ensemble import Ensemble, least_likely_targets
from lightning_advinterp.attacks.prediction.ensemble_attack import EnsembleAttack
from lightning_advinterp.attacks.prediction.grammar import attack_list, one_attack
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.attacks.prediction.optimization import OptimizationAttack
from lightning_advinterp.attacks.prediction.presets import bim, create_attack, fgsm, pgd
from lightning_advinterp.attacks.prediction.transfer import TransferAttack
from lightning_advinterp.core.randomness import sample_keys

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
    "attack_list",
    "bim",
    "calibrate",
    "create_attack",
    "create_explanation_attack",
    "fgsm",
    "least_likely_targets",
    "one_attack",
    "parse_budget",
    "parse_pixels",
    "pgd",
    "sample_keys",
]
