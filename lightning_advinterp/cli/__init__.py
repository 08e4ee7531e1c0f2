"""The command lines: ``train.py`` runs :func:`train` and ``evaluate.py`` :func:`evaluate`, through :mod:`.door`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_advinterp.cli.evaluation.command import evaluate
    from lightning_advinterp.cli.train_command import TrainCLI, fit, train

__all__ = ["TrainCLI", "evaluate", "fit", "train"]

# Imported on first use: `--help` and `--version` pass through this package, and need neither torch nor Lightning.
_HOMES = {
    "TrainCLI": "train_command",
    "evaluate": "evaluation.command",
    "fit": "train_command",
    "train": "train_command",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
