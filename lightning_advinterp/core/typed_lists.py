"""Lists of settings of which each has a type: a name, several names, one entry's settings, or a list of these."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


def typed_list(kind: type[T], entries: Any, argument: str) -> tuple[T, ...]:
    """Return settings from the ways in which a user says them.

    Args:
        kind: a dataclass whose field ``type`` is its first.
        entries: a type's name, names separated by commas, one entry's settings, or a list of names and settings.
        argument: what messages call it.

    Raises:
        ValueError: for anything else, naming it.
    """
    if isinstance(entries, kind):
        return (entries,)
    if isinstance(entries, str):
        if entries.lstrip().startswith(("[", "{")):
            return typed_list(kind, yaml.safe_load(entries), argument)
        return tuple(kind(name.strip()) for name in entries.split(",") if name.strip())  # type: ignore[call-arg]
    if isinstance(entries, Mapping):
        if "type" not in entries:
            raise ValueError(f"{argument}: an entry needs a type, got {dict(entries)!r}.")
        try:
            return (kind(**{str(key): value for key, value in entries.items()}),)
        except ValueError as error:
            raise ValueError(f"{argument}: {error}") from None
    if isinstance(entries, Sequence):
        return tuple(setting for entry in entries for setting in typed_list(kind, entry, argument))
    raise ValueError(
        f"{argument}: expected names, settings such as {{type: NAME}}, or a list of these, got {entries!r}."
    )
