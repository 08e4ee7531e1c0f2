"""Explanations by name: classes whose constructors' arguments are the settings of their type."""

from lightning_advinterp.core.registry import class_of_path, entry_of
from lightning_advinterp.explanations.attn_lrp import AttnLRP
from lightning_advinterp.explanations.cam import CAM, GradCAM
from lightning_advinterp.explanations.deeplift import DeepLift
from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.gradients import Gradient, GradientTimesInput, IntegratedGradients, SmoothGrad
from lightning_advinterp.explanations.guided import GuidedBackprop
from lightning_advinterp.explanations.lrp import LRP
from lightning_advinterp.explanations.occlusion import Occlusion
from lightning_advinterp.explanations.pattern_attribution import PatternAttribution
from lightning_advinterp.explanations.rollout import AttentionRollout

EXPLANATIONS: dict[str, type[Method]] = {
    "gradient": Gradient,
    "gradient_times_input": GradientTimesInput,
    "smoothgrad": SmoothGrad,
    "integrated_gradients": IntegratedGradients,
    "guided_backprop": GuidedBackprop,
    "deeplift": DeepLift,
    "lrp": LRP,
    "pattern_attribution": PatternAttribution,
    "cam": CAM,
    "gradcam": GradCAM,
    "occlusion": Occlusion,
    "attention_rollout": AttentionRollout,
    "attnlrp": AttnLRP,
}
"""Every type of explanation by its name in a configuration."""


def kind_of(name: str) -> type[Method]:
    """Return the class of a type.

    Raises:
        ValueError: if there is no such type; the nearest is named.
    """
    what = "explanation type"
    return class_of_path(name, Method, what) if "." in name else entry_of(name, EXPLANATIONS, what)
