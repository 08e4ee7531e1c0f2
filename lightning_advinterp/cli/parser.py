"""Commands whose flags are the fields of one dataclass: their parser, and what it makes of a command line."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import Namespace

from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.core.kinds import kind_name
from lightning_advinterp.core.settings import check_numbers
from lightning_advinterp.core.shipped import with_configurations
from lightning_advinterp.core.yaml_files import load_yaml

Settings = TypeVar("Settings")


def settings_parser(kind: type, description: str, skip: set[str] | None = None) -> SuggestingParser:
    """Return a parser of which every field of a dataclass is a flag, and a key of the YAML after ``--config``.

    Args:
        kind: the dataclass.
        description: of the command.
        skip: fields that are no flags.
    """
    parser = SuggestingParser(description=description)
    parser.add_argument("--config", action="config", help="A YAML file of the keys below.")
    parser.add_class_arguments(kind, skip=skip)
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
    return kind(**parsed_settings(kind, parser, args))


def parsed_settings(kind: type, parser: SuggestingParser, args: Sequence[str] | None = None) -> dict[str, Any]:
    """Return what a command line says, by the parser's top-level keys; see :func:`read_settings`."""
    hints = get_type_hints(kind)
    lists = {f"--{name}" for name, hint in hints.items() if hint == list[str]}
    several = {f"--{name}" for name, hint in hints.items() if _one_or_several(hint)}
    line = with_configurations(sys.argv[1:] if args is None else args)
    namespace = parser.parse_args(bare_flags(line, parser, lists, several))
    _check_kinds(parser, namespace)
    check_numbers(namespace)
    settings = dict(vars(parser.instantiate(namespace)))
    settings.pop("config")
    return settings


def _one_or_several(hint: Any) -> bool:
    """Whether a flag takes a name, or a tuple of names and settings."""
    kinds = get_args(hint)
    return str in kinds and any(get_origin(kind) is tuple and str in _kinds_in(kind) for kind in kinds)


def _kinds_in(hint: Any) -> list[Any]:
    """Return the kinds of a tuple's entries."""
    return [kind for entry in get_args(hint) for kind in (get_args(entry) or (entry,))]


def _check_kinds(parser: SuggestingParser, namespace: Namespace) -> None:
    """Refuse what jsonargparse lets pass: a value for a whole group of settings, and null for what has no null.

    Raises:
        ValueError: naming the key.
    """
    for action in parser._actions:
        group, dot, key = action.dest.partition(".")
        if key == "help":  # of a setting that is a class
            continue
        if dot and not isinstance(namespace.get(group), Namespace | dict):
            raise ValueError(f"{group} must be a group of keys, such as {action.dest}, got {namespace.get(group)!r}.")
        kind: Any = getattr(action, "_typehint", action.type)
        plain = isinstance(kind, type) and issubclass(kind, int | float | str)  # others may mean None
        plain = plain or (get_origin(kind) in (Union, UnionType) and type(None) not in get_args(kind))
        if plain and action.default is not None and namespace.get(action.dest, action.default) is None:
            raise ValueError(f"{action.dest} must be of the kind {kind_name(kind)}, got null; leave the key out.")


def refuse_values_of_groups(args: Sequence[str], groups: Mapping[str, Any]) -> None:
    """Refuse a configuration that has a text in the place of a group's keys: the parser would open a file of that name.

    Raises:
        ValueError: naming the group.
    """
    for place, flag in enumerate(args):
        name, equals, value = flag.partition("=")
        path = Path(value if equals else "".join(args[place + 1 : place + 2]))
        configuration: Any = load_yaml(path) if name == "--config" and path.is_file() else None
        for group, kind in groups.items():
            if isinstance(configuration, dict) and isinstance(configuration.get(group), str):
                key = f"{group}.{fields(kind)[0].name}"
                raise ValueError(f"{group} must be a group of keys, such as {key}, got {configuration[group]!r}.")


def named_class_paths(args: Sequence[str], key: str) -> list[str]:
    """Return the class paths that a command line, or a configuration that it names, has under a key.

    A parser must know them before it reads the line: their settings are flags of it.

    >>> named_class_paths(["--analyses=accuracy,mine.Ece", "--seed", "1"], "analyses")
    ['mine.Ece']
    """
    values: list[Any] = []
    for place, flag in enumerate(args):
        name, equals, value = flag.partition("=")
        value = value if equals else "".join(args[place + 1 : place + 2])
        if name == "--config" and Path(value).is_file():
            configuration = load_yaml(Path(value))
            values = [configuration.get(key)] if isinstance(configuration, dict) and key in configuration else values
        elif name == f"--{key}":
            values = [yaml.safe_load(value) if value.startswith("[") else value]
    paths: list[str] = []
    for value in values:
        names = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
        paths += [name.strip() for name in names if isinstance(name, str) and "." in name]
    return paths


def bare_flags(
    args: Sequence[str], parser: SuggestingParser, lists: Collection[str] = (), several: Collection[str] = ()
) -> list[str]:
    """Let yes-or-no flags stand alone, and lists of names be written one after the other, as shells expand them.

    What may be one name or several stays one where it is one.

    >>> parser = SuggestingParser()
    >>> _ = parser.add_argument("--dry_run", type=bool, default=False)
    >>> bare_flags(["--dry_run", "--images", "a.jpg", "b.jpg"], parser, ["--images"])
    ['--dry_run=true', '--images=["a.jpg", "b.jpg"]']
    """
    switches = {f"--{name}" for name, value in vars(parser.get_defaults()).items() if isinstance(value, bool)}
    rewritten: list[str] = []
    words = list(args)
    while words:
        flag = words.pop(0)
        if flag in switches and (not words or words[0].startswith("-")):
            flag += "=true"
        elif flag in {*lists, *several} and words and not words[0].startswith(("[", "-")):
            names = []
            while words and not words[0].startswith("-"):
                names.append(words.pop(0))
            flag += f"={json.dumps(names) if flag in lists or len(names) > 1 else names[0]}"
        rewritten.append(flag)
    return rewritten
