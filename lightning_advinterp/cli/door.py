"""``advinterp COMMAND``: the door to all commands, of ``train.py``, ``evaluate.py`` and ``python -m`` too."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from lightning_advinterp.cli.first_help import first_help


class Command(NamedTuple):
    """A command, which is imported when it is asked for.

    Attributes:
        module: where it is.
        function: which takes the rest of the command line.
        help: one line.
        example: of its flags.
    """

    module: str
    function: str
    help: str
    example: str


_PACKAGE = "lightning_advinterp"
COMMANDS = {
    "train": Command(
        f"{_PACKAGE}.cli.train_command", "train", "train a classifier, and watch its units", "--config quickstart"
    ),
    "evaluate": Command(
        f"{_PACKAGE}.cli.evaluation.command",
        "evaluate",
        "measure a network: tables, figures, a page",
        "--checkpoint runs/quickstart/last.ckpt --analyses all",
    ),
    "report": Command(
        f"{_PACKAGE}.report.command", "main", "write the page of stored evaluations", "evaluation other/evaluation"
    ),
    "adversarial": Command(
        f"{_PACKAGE}.cli.adversarial", "main", "write a set of adversarial images", "--network resnet18 --output set"
    ),
    "bases": Command(
        f"{_PACKAGE}.cli.bases", "main", "fit a basis to a layer", "--network resnet18 --layer layer3 --kind sae"
    ),
    "export": Command(
        f"{_PACKAGE}.cli.export", "main", "write a network for other programs", "runs/NAME/last.ckpt --output DIR"
    ),
    "ablation": Command(
        f"{_PACKAGE}.ablation.command", "main", "train and compare arms over seeds", "--config ablation/concept_world"
    ),
    "broden": Command(f"{_PACKAGE}.data.broden.command", "main", "build and check a set of concepts", "check DIR"),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run a command, or say which there are.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    words = list(sys.argv[1:] if args is None else args)
    if words[:1] == ["--version"]:
        from lightning_advinterp import __version__

        print(__version__)
        return
    if not words or words[0] in ("-h", "--help"):
        _print(_usage())
        return
    if words[0] not in COMMANDS:
        print(f"error: advinterp has the commands {', '.join(COMMANDS)}, got {words[0]!r}.", file=sys.stderr)
        raise SystemExit(2)
    run(words[0], f"advinterp {words[0]}", words[1:])


def run(name: str, program: str, args: Sequence[str] | None = None) -> None:
    """Run one command.

    A plain ``--help`` is answered from a text, within a second; ``--help all`` by the command's parser.

    Args:
        name: of the command, a key of :data:`COMMANDS`.
        program: what usage lines call it.
        args: the rest of the command line, ``sys.argv`` if left out.
    """
    words = list(sys.argv[1:] if args is None else args)
    text = first_help(name, program, words)
    if text is not None:
        _print(text)
        return
    for place, word in enumerate(words[:-1]):
        if word == "--help" and words[place + 1] == "all":
            del words[place + 1]  # the parser's --help lists all keys
            break
    _say_that_it_starts(program)
    from lightning_advinterp.cli.suggestions import PROGRAM

    PROGRAM.set(program)
    command = COMMANDS[name]
    getattr(importlib.import_module(command.module), command.function)(words)


def _say_that_it_starts(program: str) -> None:
    """Say at once that something happens: torch, torchvision, timm and Lightning take seconds to import.

    On a terminal alone, and of a process that a user started: what reads a command's output sees the same as before.
    """
    if sys.stderr.isatty() and "LOCAL_RANK" not in os.environ:
        print(f"{program}: loading torch, torchvision and Lightning ...", file=sys.stderr, flush=True)


def _print(text: str) -> None:
    """Print; a reader that has seen enough, such as ``head``, is no fault."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = ["usage: advinterp COMMAND [flags]", "", "commands:"]
    for name, command in COMMANDS.items():
        lines += [f"  {name:{width}}  {command.help}", f"  {'':{width}}  advinterp {name} {command.example}"]
    return "\n".join([*lines, "", "advinterp COMMAND --help lists its flags; advinterp --version."])


if __name__ == "__main__":
    main()
