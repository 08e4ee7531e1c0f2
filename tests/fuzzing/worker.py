"""One process of the fuzz: reads mutated files, and says what came of it."""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import resource
import shutil
import sys
import traceback
import warnings
from dataclasses import asdict, is_dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml

from fuzzing.mutations import Files, Node, mutate
from fuzzing.probes import PROBES
from fuzzing.reader import Reader
from fuzzing.readers import READERS

_RAW = (UnicodeError, json.JSONDecodeError, yaml.YAMLError)
"""Errors in a library's words that a user cannot do anything with."""

_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")


class Watch:
    """Notes what a case must not do: run code or programs, or touch files beside its folder."""

    def __init__(self, base: Path) -> None:
        self.base, self.case = str(base), str(base / "case")
        self.seen: list[str] = []
        self.active = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in _STARTS:
            self.seen.append(event)
        elif event == "exec" and str(getattr(arguments[0], "co_filename", "")).startswith(self.case):
            self.seen.append("module of the case")
        elif event == "os.mkdir" and "EXECUTED" in str(arguments[0]):
            self.seen.append("code of the case")
        elif event == "open" and "secret" in os.path.basename(
            os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else ""
        ):
            self.seen.append("a file beside the case")
        elif event == "os.rename" and not os.path.abspath(os.fsdecode(arguments[1])).startswith(self.case):
            self.seen.append(f"a file moved to {os.fsdecode(arguments[1])}")


def pristine(reader: Reader, base: Path) -> tuple[Files, str]:
    """Return the sound files of a reader, and the digest of what it makes of them."""
    folder = fresh(base)
    reader.make(folder)
    files: Files = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    value = reader.read(folder)
    if not reader.sane(value):
        raise RuntimeError(f"{reader.name}: its own pristine files are not sane")
    return files, digest(value)


def fresh(base: Path) -> Path:
    """Return an empty folder for a case."""
    folder = base / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write(files: Files, folder: Path) -> None:
    """Write a case; names that leave the folder do not."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is Node.FOLDER:
            path.mkdir()
        elif content is Node.FIFO:
            os.mkfifo(path)
        elif content is Node.LOOP:
            path.symlink_to(path.name)
        else:
            assert isinstance(content, bytes)
            path.write_bytes(content)


def digest(value: Any) -> str:
    """Return a hash of nested numbers, texts, tensors and arrays."""
    state = hashlib.sha256()

    def add(entry: Any) -> None:
        if isinstance(entry, torch.Tensor) and (entry.is_meta or entry.layout != torch.strided):
            state.update(f"tensor {entry.layout} {entry.device}".encode())
        elif isinstance(entry, torch.Tensor):
            entry = entry.detach().cpu().contiguous()
            state.update(
                f"tensor {entry.dtype} {tuple(entry.shape)}".encode()
                + entry.reshape(-1).view(torch.uint8).numpy().tobytes()
            )
        elif isinstance(entry, np.ndarray):
            state.update(f"array {entry.dtype} {entry.shape}".encode() + np.ascontiguousarray(entry).tobytes())
        elif is_dataclass(entry) and not isinstance(entry, type):
            add(asdict(entry))
        elif isinstance(entry, dict):
            for key, inner in entry.items():
                state.update(f"key {key!r}".encode("utf-8", "backslashreplace"))
                add(inner)
        elif isinstance(entry, list | tuple):
            state.update(f"list {len(entry)}".encode())
            for inner in entry:
                add(inner)
        else:
            state.update(repr(entry).encode("utf-8", "backslashreplace"))

    add(value)
    return state.hexdigest()


def judge(reader: Reader, files: Files, expected: str, family: str, base: Path, watch: Watch) -> tuple[str, str]:
    """Read one case, and return its outcome and a detail."""
    folder = fresh(base)
    write(files, folder)
    errors, watch.seen = io.StringIO(), []
    try:
        watch.active = True
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            value = reader.read(folder)
        outcome = "same", ""
        if digest(value) != expected:
            outcome = "different", ""
            if not reader.sane(value):
                outcome = "wrong", "values that are none were taken"
            elif family in reader.sealed:
                outcome = "wrong", f"{family}: the value changed without a word"
    except SystemExit:
        text = errors.getvalue().strip()
        outcome = ("clear", "") if text.startswith("error: ") else ("unclear", f"exit without a word: {text[:80]!r}")
    except (ValueError, OSError, _runs_out()) as error:
        outcome = _words(error, reader, files, folder)
    except BaseException as error:
        outcome = "traceback", _where(error)
    finally:
        watch.active = False
    if watch.seen:
        outcome = "execution", ", ".join(sorted(set(watch.seen)))
    return outcome


def _runs_out() -> type[Exception]:
    from lightning_advinterp.core.errors import RunStoppedError

    return RunStoppedError


def _words(error: Exception, reader: Reader, files: Files, folder: Path) -> tuple[str, str]:
    """Tell an error that helps from one that does not: it names a file of the case, and it is the package's own."""
    text = str(error)
    names = {folder.name, *files, *(Path(name).name for name in files), *reader.words}
    named = any(name in text for name in names if name)
    raw = isinstance(error, _RAW) and type(error).__module__ != "lightning_advinterp"
    if named and not raw:
        return "clear", ""
    return "unclear", f"{'raw ' if raw else ''}{_where(error)}"


def _where(error: BaseException) -> str:
    """Return kind, message and the package's last line of an exception, without what differs from case to case."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "lightning_advinterp" in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"
    message = re.sub(r"0x[0-9a-f]+|\d+", "N", (str(error).splitlines() or [""])[0])
    return f"{type(error).__name__} in {place}: {message[:70]}"


def _mutated(reader: Reader, files: Files, seed: int) -> tuple[Files, str, str, str]:
    """Return the case of a seed; mutations that do not fit the files (no tensor is left, for one) are drawn anew."""
    rng = Random(f"{reader.name} {seed}")
    while True:
        try:
            return mutate(files, rng, pipes=not reader.pipes)
        except Exception:
            continue


def main(base: Path, memory: int) -> None:
    """Answer cases until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    os.chdir(base)
    sys.path.insert(0, str(base / "case"))
    for name in ("secret", "secret.png"):
        (base / name).write_text("secret")
    pristine_files: dict[int, tuple[Files, str]] = {}
    watch = Watch(base)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        number, seed = json.loads(line)
        reader = (*READERS, *PROBES)[number]
        if number not in pristine_files:
            pristine_files[number] = pristine(reader, base)
        files, expected = pristine_files[number]
        mutated, family, name, path = _mutated(reader, files, seed)
        outcome, detail = judge(reader, mutated, expected, family, base, watch)
        answers.write(json.dumps([outcome, detail, f"{family}/{name} {path}"]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
