"""What ``--attack.help TYPE`` prints: the settings of a type, from its callable's signature and docstring."""

import re
from collections.abc import Sequence
from dataclasses import fields
from textwrap import fill

from lightning_advinterp.attacks.explanation.config import ExplanationAttackConfig
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.core.kinds import shown
from lightning_advinterp.core.signatures import REQUIRED, Setting, first_sentence
from lightning_advinterp.core.typed_settings import TypedSettings
from lightning_advinterp.explanations import ExplanationConfig

_HELP = re.compile(r"--(?P<parent>(?:[\w.]+\.)?(?P<key>attacks?|methods))\.help(?:=(?P<type>.*))?")
_ROLE = re.compile(r":\w+:`~?(?P<name>[\w.]+)`")
"""A cross-reference of a docstring, of which the last word is shown."""
_WIDTH = 100


def asked_help(args: Sequence[str]) -> str | None:
    """Return the help that a command line asks for; None where it asks for none on attacks or explanations.

    Args:
        args: the command line.

    Raises:
        ValueError: if there is no such type.
    """
    for place, arg in enumerate(args):
        match = _HELP.fullmatch(arg)
        if match is None:
            continue
        kind: type[TypedSettings] = ExplanationConfig if match["key"] == "methods" else AttackConfig
        if match["parent"].startswith("fragility.attacks"):
            kind = ExplanationAttackConfig
        following = "".join(args[place + 1 : place + 2])
        name = match["type"] or ("" if following.startswith("-") else following)
        return settings_help(kind, name) if name else types_help(kind)
    return None


def types_help(kind: type[TypedSettings]) -> str:
    """Return the registered types, a line each, and how to see a type's settings."""
    lines = [_entry(name, first_sentence(described)) for name, described in kind.types().items()]
    return "\n".join([*lines, "", "Name one of these, or a class path of your own, to see its settings.", ""])


def settings_help(kind: type[TypedSettings], name: str) -> str:
    """Return the settings of a type: what they mean, of which kind they are, and their defaults.

    Args:
        kind: the class of settings.
        name: the type, or a class path.

    Raises:
        ValueError: if there is no such type.
    """
    takes = kind.takes(name)
    described = kind.types().get(name)
    order = [field.name for field in fields(kind)]
    names = sorted(takes, key=lambda setting: order.index(setting) if setting in order else len(order))
    lines = [_entry(setting, _said(takes[setting], kind)) for setting in names]
    return "\n".join([f"{name}: {first_sentence(described)}" if described else name, "", *lines, ""])


def _said(setting: Setting, kind: type[TypedSettings]) -> str:
    """Return what one setting means; where its callable does not say, another type's does."""
    text = setting.text
    for name in kind.types():
        text = text or kind.takes(name).get(setting.name, setting).text
    default = "" if setting.default in (None, REQUIRED) else f", default {setting.default}"
    return f"{text} ({shown(setting.kind)}{default})".strip()


def _entry(name: str, text: str) -> str:
    text = _ROLE.sub(lambda role: role["name"].rpartition(".")[2], text)
    return fill(f"{name:<22}{text}", _WIDTH, subsequent_indent=" " * 24, break_on_hyphens=False)
