"""Train robust, interpretable image classifiers, and measure whether they mean what they seem to mean.

The names below are the stable interface: they keep their meaning within a minor version, and one that is to go warns
for one minor version before it does. Everything else is reached by the full path of its module, and may move.
"""

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_advinterp.analyses.base.question import Question
    from lightning_advinterp.analyses.base.runner import Runner
    from lightning_advinterp.analyses.results import Results, load_results
    from lightning_advinterp.attacks.prediction.presets import create_attack, fgsm, pgd
    from lightning_advinterp.cli.evaluation.notebook import evaluate
    from lightning_advinterp.core.result import Result
    from lightning_advinterp.datamodules.user_images import UserImagesDataModule
    from lightning_advinterp.explanations.presets import create_explanation
    from lightning_advinterp.networks.factory import create_network
    from lightning_advinterp.training.module import RobustClassifier

__version__ = "0.1.0"

__all__ = [
    "Question",
    "Result",
    "Results",
    "RobustClassifier",
    "Runner",
    "UserImagesDataModule",
    "__version__",
    "create_attack",
    "create_explanation",
    "create_network",
    "evaluate",
    "fgsm",
    "load_results",
    "pgd",
]

# Imported on first use: every command imports this file, and most need neither Lightning nor torch at once.
_HOMES = {
    "Question": "analyses.base.question",
    "Result": "core.result",
    "Results": "analyses.results",
    "RobustClassifier": "training.module",
    "Runner": "analyses.base.runner",
    "UserImagesDataModule": "datamodules.user_images",
    "create_attack": "attacks.prediction.presets",
    "create_explanation": "explanations.presets",
    "create_network": "networks.factory",
    "evaluate": "cli.evaluation.notebook",
    "fgsm": "attacks.prediction.presets",
    "load_results": "analyses.results",
    "pgd": "attacks.prediction.presets",
}


def __dir__() -> list[str]:
    return __all__


@cache
def _meant(name: str) -> str:
    """Return the hint at the nearest name; jsonargparse asks for the same few hundred in vain in each command line."""
    near = get_close_matches(name, _HOMES, 1)
    return f"; did you mean {near[0]}?" if near else ""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_meant(name)}", name=name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
