"""Explanations: one map per image, differentiable when asked."""

from lightning_advinterp.explanations.attn_lrp import AttnLRP
from lightning_advinterp.explanations.cam import CAM, GradCAM
from lightning_advinterp.explanations.config import ExplanationConfig
from lightning_advinterp.explanations.deeplift import DeepLift
from lightning_advinterp.explanations.explanation import Explanation, Method, unit_sum
from lightning_advinterp.explanations.gradients import Gradient, GradientTimesInput, IntegratedGradients, SmoothGrad
from lightning_advinterp.explanations.guided import GuidedBackprop
from lightning_advinterp.explanations.lrp import LRP
from lightning_advinterp.explanations.occlusion import Occlusion
from lightning_advinterp.explanations.pattern_attribution import PatternAttribution
from lightning_advinterp.explanations.patterns import Patterns, learn_patterns
from lightning_advinterp.explanations.presets import PAPERS, create_explanation, create_explanations
from lightning_advinterp.explanations.registry import EXPLANATIONS
from lightning_advinterp.explanations.rollout import AttentionRollout

__all__ = [
    "CAM",
    "EXPLANATIONS",
    "LRP",
    "PAPERS",
    "AttentionRollout",
    "AttnLRP",
    "DeepLift",
    "Explanation",
    "ExplanationConfig",
    "GradCAM",
    "Gradient",
    "GradientTimesInput",
    "GuidedBackprop",
    "IntegratedGradients",
    "Method",
    "Occlusion",
    "PatternAttribution",
    "Patterns",
    "SmoothGrad",
    "create_explanation",
    "create_explanations",
    "learn_patterns",
    "unit_sum",
]
