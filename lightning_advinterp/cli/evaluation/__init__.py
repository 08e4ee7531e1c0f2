"""Evaluations: one command for every analysis."""

from lightning_advinterp.cli.evaluation.config import Evaluation, TableRow
from lightning_advinterp.cli.evaluation.run import run_evaluation

__all__ = ["Evaluation", "TableRow", "run_evaluation"]
