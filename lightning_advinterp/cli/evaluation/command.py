"""The evaluation command: its parser, and what is made of a command line."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

from lightning_advinterp.analyses.registry import QUESTIONS, SETTINGS, question_class
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.run import run_evaluation
from lightning_advinterp.cli.parser import named_class_paths, parsed_settings, refuse_values_of_groups, settings_parser
from lightning_advinterp.cli.processes import device_of, joined, one_speaks
from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.core.errors import plain_errors, stops_explained, termination_explained
from lightning_advinterp.core.memory import give_back_freed_memory, keep_freed_memory
from lightning_advinterp.core.processes import ALONE
from lightning_advinterp.core.shipped import with_configurations
from lightning_advinterp.core.terminal import terminal
from lightning_advinterp.data.broden import BrodenError
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.networks.overridden import without_foreign_stem


def evaluation_parser(args: Sequence[str] = ()) -> SuggestingParser:
    """Return the parser of the evaluation command.

    Every field of :class:`Evaluation` is a flag, and so is every setting of an analysis, ``--NAME.KEY``.

    Args:
        args: the command line, for the class paths of a user's own analyses, which have flags too.
    """
    parser = settings_parser(
        Evaluation, "Measure what a network does, and write tables, figures and a page.", skip={"questions"}
    )
    named = [question_class(path) for path in named_class_paths(args, "analyses")]
    for name, kind in (QUESTIONS | SETTINGS | {kind.name: kind for kind in named}).items():
        if fields(kind):
            parser.add_class_arguments(kind, name)
    return parser


def read_evaluation(args: Sequence[str] | None = None) -> Evaluation:
    """Return the evaluation that a command line describes.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    line = without_foreign_stem(with_configurations(sys.argv[1:] if args is None else args))
    refuse_values_of_groups(line, {name: kind for name, kind in (QUESTIONS | SETTINGS).items() if fields(kind)})
    parser = evaluation_parser(line)
    settings = parsed_settings(Evaluation, parser, line)
    flags = {field.name for field in fields(Evaluation)}
    questions = {name: settings.pop(name) for name in list(settings) if name not in flags}
    return Evaluation(**settings, questions=questions)


def evaluate(args: Sequence[str] | None = None) -> None:
    """Evaluate a network, and write tables, figures and a page.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    keep_freed_memory()
    with stops_explained(BadImageError, BrodenError) as command, termination_explained():
        with plain_errors(), one_speaks(command):
            evaluation = read_evaluation(args)
        if evaluation.memory is not None:
            give_back_freed_memory()
        command.folder = None if evaluation.dry_run else Path(evaluation.output)
        with ExitStack() as stack:
            processes = ALONE
            if not evaluation.dry_run:
                with plain_errors():
                    device = device_of(evaluation, evaluation.device)
                    processes = stack.enter_context(joined(evaluation, device, command))
            run_evaluation(evaluation, terminal(quiet=not command.first), checking=plain_errors, processes=processes)
