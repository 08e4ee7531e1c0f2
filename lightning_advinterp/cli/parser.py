"""Commands whose flags are the fields of one dataclass: their parser, and what it makes of a command line."""

import json
import sys
from collections.abc import Collection, Sequence
from typing import TypeVar, get_type_hints

from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.core.settings import check_numbers

Settings = TypeVar("Settings")


def settings_parser(kind: type, description: str) -> SuggestingParser:
    """Return a parser of which every field of a dataclass is a flag, and a key of the YAML after ``--config``."""
    parser = SuggestingParser(description=description)
    parser.add_argument("--config", action="config", help="A YAML file of the keys below.")
    parser.add_class_arguments(kind)
    return parser


def read_settings(kind: type[Settings], parser: SuggestingParser, args: Sequence[str] | None = None) -> Settings:
    """Return the dataclass that a command line describes.

    Args:
        kind: the dataclass.
        parser: its :func:`settings_parser`.
        args: the command line, ``sys.argv`` if left out.

    Raises:
        ValueError: if the dataclass refuses a value.
        SystemExit: if the parser does; it has said why.
    """
    lists = {f"--{name}" for name, hint in get_type_hints(kind).items() if hint == list[str]}
    given = parser.parse_args(bare_flags(sys.argv[1:] if args is None else args, parser, lists))
    check_numbers(given)
    fields = vars(parser.instantiate(given))
    fields.pop("config")
    return kind(**fields)


def bare_flags(args: Sequence[str], parser: SuggestingParser, lists: Collection[str] = ()) -> list[str]:
    """Let yes-or-no flags stand alone, and lists of names be written one after the other, as shells expand them.

    >>> parser = SuggestingParser()
    >>> _ = parser.add_argument("--dry_run", type=bool, default=False)
    >>> bare_flags(["--dry_run", "--images", "a.jpg", "b.jpg"], parser, ["--images"])
    ['--dry_run=true', '--images=["a.jpg", "b.jpg"]']
    """
    switches = {f"--{name}" for name, value in vars(parser.get_defaults()).items() if isinstance(value, bool)}
    rewritten: list[str] = []
    rest = list(args)
    while rest:
        flag = rest.pop(0)
        if flag in switches and (not rest or rest[0].startswith("-")):
            flag += "=true"
        elif flag in lists and rest and not rest[0].startswith(("[", "-")):
            names = []
            while rest and not rest[0].startswith("-"):
                names.append(rest.pop(0))
            flag += f"={json.dumps(names)}"
        rewritten.append(flag)
    return rewritten
