"""The evaluation command: its parser, and what is made of a command line."""

from collections.abc import Sequence
from pathlib import Path

from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.run import run_evaluation
from lightning_advinterp.cli.parser import read_settings, settings_parser
from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.core.errors import plain_errors, stops_explained, termination_explained
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.core.terminal import terminal
from lightning_advinterp.data.broden import BrodenError
from lightning_advinterp.data.decode import BadImageError


def evaluation_parser() -> SuggestingParser:
    """Return the parser of the evaluation command: every field of :class:`Evaluation` is a flag."""
    return settings_parser(Evaluation, "Measure what a network does, and write tables, figures and a page.")


def evaluate(args: Sequence[str] | None = None) -> None:
    """Evaluate a network, and write tables, figures and a page.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    keep_freed_memory()
    with stops_explained(BadImageError, BrodenError) as command, termination_explained():
        with plain_errors():
            evaluation = read_settings(Evaluation, evaluation_parser(), args)
        command.folder = None if evaluation.dry_run else Path(evaluation.output)
        run_evaluation(evaluation, terminal(), checking=plain_errors)
