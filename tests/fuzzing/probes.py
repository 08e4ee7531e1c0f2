"""Readers that do what none may do: the fuzz must see it."""

import os
import signal
from pathlib import Path
from typing import Any

from fuzzing.reader import DAMAGE, Reader


def _make(folder: Path) -> None:
    (folder / "probe.txt").write_text("sound")


def _pristine(folder: Path) -> bool:
    path = folder / "probe.txt"
    return path.is_file() and path.read_bytes() == b"sound"


def _fails(folder: Path) -> str:
    if not _pristine(folder):
        raise KeyError("probe")
    return "sound"


def _grumbles(folder: Path) -> str:
    if not _pristine(folder):
        raise ValueError("something is wrong")
    return "sound"


def _runs(folder: Path) -> str:
    if not _pristine(folder):
        os.mkdir(folder / "EXECUTED")
    return "sound"


def _dies(folder: Path) -> str:
    if not _pristine(folder):
        os.kill(os.getpid(), signal.SIGSEGV)
    return "sound"


def _refuses(folder: Path) -> str:
    if not _pristine(folder):
        raise ValueError(f"{folder / 'probe.txt'} is damaged")
    return "sound"


def _numbers(folder: Path) -> Any:
    return 1.0 if _pristine(folder) else float("nan")


PROBES = (
    Reader("probe clear", _make, _refuses, "tests"),
    Reader("probe different", _make, _pristine, "tests"),
    Reader("probe wrong", _make, _pristine, "tests", sealed=DAMAGE),
    Reader("probe insane", _make, _numbers, "tests", sane=lambda value: value == value),
    Reader("probe unclear", _make, _grumbles, "tests"),
    Reader("probe traceback", _make, _fails, "tests"),
    Reader("probe execution", _make, _runs, "tests"),
    Reader("probe crash", _make, _dies, "tests"),
)
