"""What the fuzz knows of a reader: how its files are made, how they are read, and what must never happen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DAMAGE = frozenset({"bytes", "files"})
"""Families that no intention stands behind: where checksums exist, they must not change a number."""


@dataclass(frozen=True)
class Reader:
    """One way in which the package takes up files.

    Attributes:
        name: of the reader.
        make: writes sound files into a folder.
        read: reads them, and returns what can be compared: numbers, texts, tensors, arrays, nested.
        sane: whether a value may be worked with; a reader that returns another one is silently wrong.
        sealed: families of mutations that must not change the value, since the files carry checksums.
        room: where a finding belongs.
        words: what a message may name in the file's place: the keys of a configuration, a flag.
        pipes: whether a user may give a pipe, which is waited for.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], Any]
    room: str
    sane: Callable[[Any], bool] = lambda value: True
    sealed: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    pipes: bool = False
