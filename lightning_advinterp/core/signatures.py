"""The settings of a callable: its keyword arguments, with their kinds, defaults and what its docstring says of them."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, get_type_hints

REQUIRED = Parameter.empty
"""Default of a setting that must be given."""

_SECTION = re.compile(r"\n(?:Args|Attributes):\n(?P<entries>(?:(?:[ ]+.*)?\n)+)")
_ENTRY = re.compile(r"^ {4}(?P<name>\w+): (?P<text>.*(?:\n {5,}.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """A keyword argument of a callable.

    Attributes:
        name: what configurations call it.
        kind: its annotation; ``Any`` where there is none.
        default: its value where it is left out, or :data:`REQUIRED`.
        text: what the callable's docstring says of it.
    """

    name: str
    kind: Any
    default: Any = REQUIRED
    text: str = ""


def settings_of(target: Callable[..., Any]) -> dict[str, Setting]:
    """Return the settings of a callable by name.

    Args:
        target: a class, whose constructor's arguments are the settings, with those that it hands on to its bases; or a
            function, whose keyword-only arguments are.

    Example:
        >>> def pgd(budget: float, *, steps: int = 10) -> None: ...
        >>> settings_of(pgd)
        {'steps': Setting(name='steps', kind=<class 'int'>, default=10, text='')}
    """
    if not isinstance(target, type):
        return _keywords(target, documentation(target), (Parameter.KEYWORD_ONLY,))
    settings: dict[str, Setting] = {}
    for base in target.__mro__:
        constructor = vars(base).get("__init__")
        if constructor is None:
            continue
        kinds = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        texts = documentation(base) | documentation(constructor)
        settings = _keywords(constructor, texts, kinds) | settings
        parameters = inspect.signature(constructor).parameters.values()
        if not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
            break
    settings.pop("self", None)
    return settings


def _keywords(function: Callable[..., Any], texts: Mapping[str, str], kinds: tuple[Any, ...]) -> dict[str, Setting]:
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):  # imported for type checkers alone
        hints = {}
    return {
        name: Setting(name, hints.get(name, Any), parameter.default, texts.get(name, ""))
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in kinds
    }


def documentation(target: Any) -> dict[str, str]:
    """Return what the docstring of a class or function says of each argument, on one line."""
    section = _SECTION.search(f"{inspect.cleandoc(target.__doc__ or '')}\n")
    entries = _ENTRY.finditer(section["entries"]) if section else ()
    return {entry["name"]: " ".join(entry["text"].split()) for entry in entries}


def first_sentence(target: Any) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join(inspect.cleandoc(target.__doc__ or "").partition("\n\n")[0].split())
