"""YAML as it is read here: bounded in its depth and in what its aliases unfold to, with errors in one line."""

from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from jsonargparse._loaders_dumpers import loaders

from lightning_advinterp.core.reading import read_text

_MAX_DEPTH = 50
_MAX_ENTRIES = 100_000
_MAX_GROWTH = 10
"""Aliases may unfold a text of many entries to so many times as many."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_load_value = loaders["yaml"]


class YamlExtentError(yaml.YAMLError, ValueError):
    """A text that is nested too deeply, or unfolds to too much."""


def check_extent(text: str) -> None:
    r"""Refuse YAML that is small to read and endless to walk through.

    Raises:
        YamlExtentError: saying what there is too much of.
        yaml.YAMLError: if it is no YAML.

    Example:
        >>> check_extent("a: &a [1, 2]\nb: [*a, *a]")
        >>> check_extent("a: &a [*a]")
        Traceback (most recent call last):
        lightning_advinterp.core.yaml_files.YamlExtentError: the alias *a stands within what it names
    """
    sizes: dict[str, int] = {}
    inside: list[tuple[str | None, int]] = [(None, 0)]  # the anchor of each open entry, and its size so far
    entries = 0
    for event in yaml.parse(text, Loader=_Loader):
        anchor, size = getattr(event, "anchor", None), 1
        if isinstance(event, yaml.CollectionStartEvent):
            inside.append((anchor, 1))
            if len(inside) > _MAX_DEPTH:
                raise YamlExtentError(f"it is nested more than {_MAX_DEPTH} levels deep")
            continue
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == name for name, _ in inside):
                raise YamlExtentError(f"the alias *{anchor} stands within what it names")
            size = sizes.get(str(anchor), 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = inside.pop()
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        if anchor is not None and not isinstance(event, yaml.AliasEvent):
            sizes[anchor] = size
        entries += 1
        name, before = inside[-1]
        inside[-1] = (name, before + size)
        if before + size > max(_MAX_ENTRIES, _MAX_GROWTH * entries):
            raise YamlExtentError(f"its aliases unfold to more than {_MAX_ENTRIES:,} entries")


def load_yaml(path: Path, loader: Any = yaml.SafeLoader) -> Any:
    """Return what a YAML file holds.

    Args:
        path: the file.
        loader: a subclass of ``yaml.SafeLoader``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: in one line, naming the file and the place.
    """
    text = checked_text(path)
    try:
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, TypeError) as error:  # a tag, an alias or a number that stands for nothing
        raise ValueError(f"{path}: is not plain YAML: {' '.join(str(error).split())[:200]}.") from None


def checked_text(path: Path) -> str:
    """Return the text of a YAML file; see :func:`load_yaml`."""
    text = read_text(path, "write it anew")
    try:
        check_extent(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{path}: is not YAML{place}: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from None
    return text


def _bounded(text: str) -> Any:
    check_extent(text)
    return _load_value(text)


def bound_parsers() -> None:
    """Let all of jsonargparse's parsers read YAML within these bounds."""
    jsonargparse.set_loader("yaml", _bounded, (yaml.YAMLError,))
