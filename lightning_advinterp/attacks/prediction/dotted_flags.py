"""Single settings of an attack on a command line that names it by a word: ``--attack pgd --attack.norm l2``."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from jsonargparse import Namespace

from lightning_advinterp.attacks.prediction.config import AttackConfig

_DOTTED = re.compile(r"--(?P<parent>(?:[\w.]+\.)?attacks?)\.(?P<key>\w+)(?P<value>=.*)?", re.DOTALL)

_OTHERS = ("fragility", "influence")
"""Keys with attacks of their own kind, on explanations."""

_ENDING = ("--print_config", "--help", "-h")
"""Flags at which the parser prints and ends the program."""


def spelt_out(args: Sequence[str], parse: Callable[[list[str]], Namespace]) -> list[str]:
    """Return a command line on which single settings find an attack's settings to change, not its name.

    The parser would drop a name, from the command line or a configuration, that such a flag follows.

    Args:
        args: the command line.
        parse: what the parser makes of a command line.

    Raises:
        ValueError: where a flag is for one attack and there are several.
    """
    matches = [_DOTTED.fullmatch(arg) for arg in args]
    parents = dict.fromkeys(match["parent"] for match in matches if match is not None)
    if not parents:
        return list(args)
    plain = parse([arg for arg in _without(args, _DOTTED) if not arg.startswith(_ENDING)])
    for match in matches:
        if match is not None and not match["parent"].startswith(_OTHERS):
            _check_key(match["parent"], match["key"], _kind(match["parent"], plain.get(match["parent"]), args))
    spelt: list[str] = []
    for parent in parents:
        settings = _settings(plain.get(parent), f"{parent}.…")
        if settings is not None:
            spelt.append(f"--{parent}={json.dumps(settings)}")
            # wherever the whole stands, single settings are laid over it
            args = _without(args, re.compile(rf"--{re.escape(parent)}(?P<value>=.*)?", re.DOTALL))
    first = next(place for place, arg in enumerate(args) if _DOTTED.fullmatch(arg))
    return [*args[:first], *spelt, *args[first:]]


def _kind(parent: str, attack: Any, args: Sequence[str]) -> str:
    """Return the type of an attack as a command line says it, by a single setting or otherwise."""
    for place, arg in enumerate(args):
        name, _, value = arg.partition("=")
        if name == f"--{parent}.type":
            return value or "".join(args[place + 1 : place + 2])
    alone = attack[0] if isinstance(attack, list | tuple) and len(attack) == 1 else attack
    return str(alone.get("type", "") if isinstance(alone, Namespace) else alone)


def _check_key(parent: str, key: str, kind: str) -> None:
    names = [field.name for field in fields(AttackConfig)]
    if key not in names and "." not in kind:  # a user's own attack has settings of its own
        near = get_close_matches(key, names, 1)
        hint = f"did you mean {parent}.{near[0]}?" if near else f"an attack has {', '.join(names)}."
        raise ValueError(f"there is no key {parent}.{key}; {hint}")


def _without(args: Sequence[str], flag: re.Pattern[str]) -> list[str]:
    """Return a command line without a flag and its values."""
    rest, plain = list(args), []
    while rest:
        arg = rest.pop(0)
        match = flag.fullmatch(arg)
        if match is None:
            plain.append(arg)
        elif match["value"] is None and rest:
            rest.pop(0)
    return plain


def _settings(attack: Any, flag: str) -> dict[str, Any] | None:
    """Return the settings of an attack that is a name, or alone in a list; None where there is nothing to spell out."""
    if isinstance(attack, str):
        attack = [name.strip() for name in attack.split(",")]
    if not isinstance(attack, list | tuple) or not attack:
        return None
    if len(attack) > 1:
        raise ValueError(f"--{flag} is for one attack, but there are {len(attack)}; write it into their settings.")
    if isinstance(attack[0], str):  # all settings, or those of a default that the name replaces would stay
        return {field.name: field.default for field in fields(AttackConfig)} | {"type": attack[0]}
    settings: dict[str, Any] = _as_dict(attack[0])
    return settings


def _as_dict(settings: Any) -> Any:
    if (is_dataclass(settings) and not isinstance(settings, type)) or isinstance(settings, Namespace):
        settings = vars(settings)
    if isinstance(settings, dict):
        return {key: _as_dict(value) for key, value in settings.items() if value is not None}
    return [_as_dict(value) for value in settings] if isinstance(settings, list | tuple) else settings
