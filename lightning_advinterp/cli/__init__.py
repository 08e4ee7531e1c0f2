"""The command lines: ``train.py`` calls :func:`train`, ``evaluate.py`` calls :func:`evaluate`."""

from lightning_advinterp.cli.evaluation.command import evaluate
from lightning_advinterp.cli.train_command import TrainCLI, fit, train

__all__ = ["TrainCLI", "evaluate", "fit", "train"]
