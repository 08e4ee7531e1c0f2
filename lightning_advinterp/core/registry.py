"""Entries by name, classes by their path, and what they can be told."""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TypeVar

Entry = TypeVar("Entry")


def entry_of(name: str, entries: Mapping[str, Entry], what: str) -> Entry:
    """Return what stands under a name that the user wrote.

    Raises:
        ValueError: if there is no such name; says which there are, and names the nearest.

    >>> entry_of("fsgm", {"fgsm": 1, "pgd": 2}, "attack type")
    Traceback (most recent call last):
    ValueError: attack type must be one of fgsm, pgd, got 'fsgm' (did you mean fgsm?).
    """
    if name not in entries:
        near = get_close_matches(str(name), entries, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{what} must be one of {', '.join(entries)}, got {name!r}{hint}.")
    return entries[name]


def import_class(path: str, argument: str) -> type:
    """Import a class that the user named; the folder of the command is looked in too.

    Args:
        path: such as ``mine.Attack``.
        argument: what the user wrote it for, for messages.

    Raises:
        ValueError: if the module or the class is not there; says where it was looked for.
    """
    module_path, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not module_path:
        raise ValueError(f"{argument}: expected the path of a class, such as mine.Attack, got {path!r}.")
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:  # a console script does not look in the working folder
        sys.path.append(folder)
    try:
        module = import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
            raise  # the module is there, and misses another
        raise ValueError(
            f"{argument}: there is no module {module_path!r} for {path}; it is sought in {folder} and on PYTHONPATH."
        ) from None
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        raise ValueError(f"{argument}: module {module_path!r} has no class {name!r}.")
    return kind


def class_of_path(path: str, base: type, argument: str) -> type:
    """Import a class that the user named, which must inherit from another.

    Raises:
        ValueError: if it is not there, or does not.
    """
    kind = import_class(path, argument)
    if not issubclass(kind, base):
        raise ValueError(f"{argument}: {path} must inherit from {base.__module__}.{base.__qualname__}.")
    return kind
