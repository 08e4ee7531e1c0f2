"""What an annotation admits: the values of a setting, by the kind that its callable declares."""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_NUMBERS: dict[Any, type] = {int: Integral, float: Real}


def members_of(kind: Any) -> tuple[Any, ...]:
    """Return the kinds of a union, or the kind itself."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def union_of(kinds: Sequence[Any]) -> Any:
    """Return the union of kinds, each named once."""
    return Union[tuple(kinds)]  # noqa: UP007 (the kinds are known when the program runs)


def admits(kind: Any, value: Any) -> bool:
    """Return whether a value is of a kind; its size is for the callable itself to judge.

    A list stands for a tuple, and a whole number for a float, as in YAML. Any text stands for a literal one: the
    callable says which texts it takes. What is no plain kind admits everything.

    Args:
        kind: an annotation.
        value: what a user gave.

    Example:
        >>> admits(int | None, 3), admits(int | None, "many"), admits(float | str, True)
        (True, False, False)
    """
    return any(_admits(member, value) for member in members_of(kind))


def _admits(kind: Any, value: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return type(value) in {type(choice) for choice in arguments}
    if kind is NoneType or kind is None:
        return value is None
    if kind is bool or kind is str:
        return isinstance(value, kind)
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if origin is not None and issubclass(origin, Sequence):
        entries = arguments[0] if arguments else Any
        return isinstance(value, Sequence) and not isinstance(value, str) and all(admits(entries, v) for v in value)
    return kind is Any or not isinstance(value, bool | int | float | str | list | tuple | Mapping)


def shown(kind: Any) -> str:
    """Return a kind in the words of YAML.

    Example:
        >>> shown(Literal["linf", "l2"] | int | tuple[float, ...] | None)
        'linf, l2, int, list or null'
    """
    words: list[str] = []
    for member in members_of(kind):
        origin = get_origin(member)
        if origin is Literal:
            words += map(str, get_args(member))
        elif member is NoneType:
            words.append("null")
        elif origin is not None:
            words.append("keys" if issubclass(origin, Mapping) else "list")
        else:
            words.append(kind_name(member))
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def kind_name(kind: Any) -> str:
    """Return what a kind is called: a class by its name, others as Python writes them."""
    return kind.__name__ if isinstance(kind, type) else str(kind)


def plain_kind(kind: Any) -> Any:
    """Return the part of a kind that text can say: without tensors, paths and other objects of Python.

    Example:
        >>> from pathlib import Path
        >>> plain_kind(str | Path | None) == (str | None)
        True
    """
    plain = [
        member
        for member in members_of(kind)
        if member in (Any, bool, int, float, str, NoneType) or get_origin(member) is not None or is_dataclass(member)
    ]
    return union_of(plain or [Any])


def built(kind: Any, value: Any) -> Any:
    """Return a value with the dataclass that its kind names in the place of a mapping, also within a list.

    Args:
        kind: an annotation.
        value: what a user gave.

    Raises:
        ValueError: if the dataclass has no such key, or refuses a value.
    """
    for member in members_of(kind):
        if isinstance(value, Mapping) and isinstance(member, type) and is_dataclass(member):
            try:
                return member(**value)
            except TypeError as error:  # no such key
                raise ValueError(f"{member.__name__}: {error}") from None
        if get_origin(member) is tuple and isinstance(value, list | tuple):
            return tuple(built(get_args(member)[0], entry) for entry in value)
    return value
