"""The evaluation command: its parser, and what is made of a command line."""

import json
import sys
from collections.abc import Sequence

from rich.console import Console

from lightning_advinterp.data.broden import BrodenError
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.errors import plain_errors, stops_explained
from lightning_advinterp.evaluation.config import Evaluation
from lightning_advinterp.evaluation.run import run_evaluation
from lightning_advinterp.memory import keep_freed_memory
from lightning_advinterp.suggestions import SuggestingParser


def evaluation_parser() -> SuggestingParser:
    """Return the parser of the evaluation command: every field of :class:`Evaluation` is a flag."""
    parser = SuggestingParser(description="Measure what a network does, and write tables, figures and a page.")
    parser.add_argument("--config", action="config", help="A YAML file of the keys below.")
    parser.add_class_arguments(Evaluation)
    return parser


def bare_flags(args: Sequence[str], parser: SuggestingParser) -> list[str]:
    """Let yes-or-no flags stand alone, and lists of files be written one after the other, as shells expand them.

    >>> bare_flags(["--dry_run", "--images", "a.jpg", "b.jpg"], evaluation_parser())
    ['--dry_run=true', '--images=["a.jpg", "b.jpg"]']
    """
    switches = {f"--{name}" for name, value in vars(parser.get_defaults()).items() if isinstance(value, bool)}
    rewritten: list[str] = []
    rest = list(args)
    while rest:
        flag = rest.pop(0)
        if flag in switches and (not rest or rest[0].startswith("-")):
            flag += "=true"
        elif flag == "--images" and rest and not rest[0].startswith("["):
            files = []
            while rest and not rest[0].startswith("-"):
                files.append(rest.pop(0))
            flag += f"={json.dumps(files)}"
        rewritten.append(flag)
    return rewritten


def evaluate(args: Sequence[str] | None = None) -> None:
    """Evaluate a network, and write tables, figures and a page.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    keep_freed_memory()
    parser = evaluation_parser()
    given = parser.parse_args(bare_flags(sys.argv[1:] if args is None else args, parser))
    with plain_errors():
        fields = vars(parser.instantiate(given))
        fields.pop("config")
        evaluation = Evaluation(**fields)
    with stops_explained(BadImageError, BrodenError):
        run_evaluation(evaluation, Console(), checking=plain_errors)
