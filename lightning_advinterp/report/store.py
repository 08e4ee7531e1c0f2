"""The folder of an evaluation: one record lists its files, which appear together or not at all.

``results.json`` is the record. New files are written into a folder of their own beside the old ones; once that is
complete, record and all, it takes their place. Whoever holds the folder next ends what a killed process began.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_advinterp.core.errors import TRACEBACK
from lightning_advinterp.core.files import remove_unfinished, write_json, write_text
from lightning_advinterp.core.names import readable_json
from lightning_advinterp.core.reading import read_json

_log = logging.getLogger(__name__)

RECORD = "results.json"
"""Lists the files that belong to an evaluation, with their SHA-256."""

JOURNALS = ".unfinished-"
"""The names of an unfinished evaluation's states begin so."""

STARTED = ".started-"
"""So do the names of files that say what an unfinished evaluation depends on."""

_SEAL = "sha256"
_STAGE = ".new-results"
_MOVE = ".moving.json"
_SUBFOLDERS = ("figures", "images", "arrays")
_TABLES = (
    *("accuracy", "predictions", "dissection", "semantics", "distances", "panels", "patches", "curvature"),
    *("fragility", "influence", "printed"),
)
"""What the tables of evaluations without a list begin with: earlier versions wrote none."""


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a folder; None where there is none, empty where it was edited or cannot be understood."""
    try:
        record = read_json(folder / RECORD)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict) or not is_sealed(record):
        return {}
    files = record.get("files")
    complete = isinstance(files, dict) and all(_inside(name) for name in files)
    return record if complete else {key: value for key, value in record.items() if key != "files"}


def differing(folder: Path, record: Mapping[str, Any] | None) -> list[str]:
    """Return the listed files that are missing or are not what was written."""
    listed: Mapping[str, str] = (record or {}).get("files") or {}
    return [name for name, digest in listed.items() if _digest(folder / name) != digest]


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record, the last file of an evaluation, with its own checksum."""
    content = json.loads(json.dumps(readable_json(record), allow_nan=False))
    write_json(folder / RECORD, content | {_SEAL: _checksum(content)}, indent=2)


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Return whether a record is what was written; one of an earlier version, which has no checksum, counts as it."""
    content = {key: value for key, value in record.items() if key != _SEAL}
    return _SEAL not in record or record[_SEAL] == _checksum(content)


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode(errors="replace")).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its path from there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) or "" for path in paths}


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield an empty folder whose files, with a record, take the place of the old ones if the block ends well."""
    stage = folder / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    try:
        stage.mkdir(parents=True)
        yield stage
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    _publish(folder)


def recover(folder: Path) -> None:
    """Bring to an end, or remove, what a killed process began; whoever calls this must hold the folder."""
    if not folder.is_dir():
        return
    if (folder / _MOVE).exists():
        with suppress(OSError, ValueError, KeyError, TypeError):
            begun = read_json(folder / _MOVE)
            names = [name for name in begun["names"] if _inside(name)]
            destination = Path(begun["to"])
            if _is_aside(folder, destination):  # the note is a file, and files can be damaged
                _move(folder, names, destination)
        (folder / _MOVE).unlink(missing_ok=True)
    if (folder / _STAGE).exists():
        _publish(folder)
    for place in (folder, *(folder / name for name in _SUBFOLDERS)):
        remove_unfinished(place)


def belongings(folder: Path) -> list[str]:
    """Return the files of the evaluation in a folder, the record last; of earlier versions those with known names."""
    record = read_record(folder)
    if record is None:
        return []
    listed = record.get("files")
    names = list(listed) if listed is not None else _known(folder)
    return [name for name in (*names, TRACEBACK, RECORD) if (folder / name).is_file()]


def journals(folder: Path) -> dict[str, list[str]]:
    """Return what unfinished evaluations left, by the key in the names."""
    names_by_key: dict[str, list[str]] = {}
    for start in (JOURNALS, STARTED):
        for path in sorted(folder.glob(f"{start}*")):
            key = path.name.removeprefix(start).partition(".")[0].partition("-")[0]
            names_by_key.setdefault(key, []).append(path.name)
    return names_by_key


def clear(folder: Path) -> None:
    """Remove what a process that was killed after its last file left in the folder of a complete evaluation."""
    recover(folder)
    for names in journals(folder).values():
        for name in names:
            (folder / name).unlink(missing_ok=True)


def move_aside(folder: Path, names: Sequence[str], destination: Path) -> None:
    """Move files of a folder into another; killed at any moment, :func:`recover` moves the rest."""
    write_text(folder / _MOVE, json.dumps({"to": str(destination), "names": list(names)}))
    _move(folder, names, destination)
    (folder / _MOVE).unlink()


def new_place(folder: Path) -> Path:
    """Return ``FOLDER.old-N``, which does not exist yet; inside the folder where nothing can be moved beside it."""
    parent = folder.absolute().parent
    beside = os.access(parent, os.W_OK) and parent.stat().st_dev == folder.stat().st_dev
    start = folder.absolute() if beside else folder.absolute() / "results"
    number = 1
    while (place := start.with_name(f"{start.name}.old-{number}")).exists():
        number += 1
    return place


def _is_aside(folder: Path, destination: Path) -> bool:
    """Whether a folder is one that :func:`new_place` names for this one, or for one that it lies in."""
    inner = folder.absolute()
    for output in (inner, *inner.parents):
        place = destination
        for _ in inner.relative_to(output).parts:
            place = place.parent
        start = {output.parent: output.name, output: "results"}.get(place.parent)
        named = start is not None and re.fullmatch(re.escape(start) + r"\.old-\d+", place.name)
        if named and destination == place / inner.relative_to(output):
            return True
    return False


def _move(folder: Path, names: Sequence[str], destination: Path) -> None:
    for name in names:
        if (folder / name).exists():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(destination / name)
    _remove_empty(folder, names)


def _publish(folder: Path) -> None:
    """Put staged files into their places, the record last; a stage without a record is not complete and is removed."""
    stage = folder / _STAGE
    record = read_record(stage)
    if record:
        files = record["files"]
        ours = belongings(folder)
        foreign = [name for name in files if name not in ours and (stage / name).exists() and (folder / name).exists()]
        if foreign:
            place = new_place(folder)
            move_aside(folder, foreign, place)
            _log.warning("%s held %s, which no evaluation wrote: moved to %s", folder, ", ".join(foreign), place)
        gone = set(ours) - {*files, RECORD}
        for name in gone:
            (folder / name).unlink(missing_ok=True)
        _remove_empty(folder, gone)
        for name in [*sorted(files), RECORD]:
            if (stage / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (stage / name).replace(folder / name)
    shutil.rmtree(stage, ignore_errors=True)
    _remove_empty(folder)


def _remove_empty(folder: Path, names: Iterable[str] = ()) -> None:
    """Remove folders that are empty: those of every evaluation, and those that files were in."""
    for name in {*_SUBFOLDERS, *(Path(name).parts[0] for name in names if len(Path(name).parts) > 1)}:
        with suppress(OSError):
            (folder / name).rmdir()


def _known(folder: Path) -> list[str]:
    tables = [path for start in _TABLES for path in folder.glob(f"{start}*.csv")]
    pictures = [path for name in _SUBFOLDERS for path in (folder / name).glob("*.*")]
    paths = [*tables, *pictures, folder / "index.html", folder / "asked.json"]
    return [path.relative_to(folder).as_posix() for path in paths if path.is_file() and not path.name.startswith(".")]


def _inside(name: Any) -> bool:
    """Whether a listed name stays in its folder: the list is a file, and files can be edited."""
    return isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts


def _digest(path: Path) -> str | None:
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
