"""Files and folders that are whole or absent: written beside their place, then moved there in one step."""

import contextlib
import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lightning_advinterp.core.locks import held
from lightning_advinterp.core.names import readable, readable_json

_log = logging.getLogger(__name__)

_UNFINISHED = ".unfinished"


def write_atomically(path: Path, write: Callable[[BinaryIO], object], *, keep: Path | None = None) -> None:
    """Let ``write`` fill a file that appears at ``path`` only once it is complete and on disk.

    Killed at any moment, ``path`` holds the old content or the new one. The system's temporary folder is never used: it
    may lie on another file system, to which nothing can be moved in one step.

    Args:
        path: the file; its folder is made where it is missing.
        write: receives the open binary file.
        keep: where the file that is replaced goes on to exist.

    Raises:
        OSError: naming the path, where it cannot be written; what was there before is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
        beside = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            beside.chmod(0o666 & ~_umask())  # mkstemp makes private files
            if keep is not None and path.exists():
                _keep(path, keep)
            beside.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"cannot write the file ({reason}); what was there is unchanged", str(path)
        ) from error


def write_text(path: Path, text: str) -> None:
    r"""Write ``text`` as UTF-8, atomically; what is no text (names of files may hold such bytes) as ``\xNN``."""
    write_atomically(path, lambda file: file.write(readable(text).encode()))


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write strict JSON in UTF-8, atomically; names that are no UTF-8 are :func:`readable` in it."""
    text = json.dumps(readable_json(value), indent=indent, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_sealed(path: Path, content: bytes) -> None:
    """Write bytes and their checksum, atomically; :func:`read_sealed` compares them."""
    write_atomically(path, lambda file: file.write(content + hashlib.sha256(content).digest()))


def read_sealed(path: Path, what: str) -> bytes | None:
    """Read what :func:`write_sealed` wrote; None where it is absent, or was damaged and is therefore set aside.

    Args:
        path: the file.
        what: is in it, for the message.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        set_aside(path, f"{what} is no file")
        return None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        set_aside(path, f"{what} cannot be read ({error.strerror or error})")
        return None
    length = hashlib.sha256().digest_size
    if len(content) >= length and hashlib.sha256(content[:-length]).digest() == content[-length:]:
        return content[:-length]
    set_aside(path, f"{what} differs from its checksum")
    return None


def set_aside(path: Path, reason: str) -> None:
    """Give a file that cannot be used another name, and say so: the work starts anew."""
    aside = path.with_name(f"{path.name}.damaged")
    with contextlib.suppress(OSError):
        path.replace(aside)
    _log.warning("%s: %s; set aside as %s, and the work starts anew.", path, reason, aside.name)


def check_writable(folder: Path, argument: str) -> None:
    """Make a folder, and see that files can be written there.

    Args:
        folder: which.
        argument: what names it, for the message.

    Raises:
        OSError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / ".writable", "")
        (folder / ".writable").unlink()
    except OSError as error:
        raise OSError(
            f"{argument}: cannot write to {folder} ({error.strerror or error}); choose another {argument}."
        ) from error


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that appears at ``path`` only if the block ends well; else it is removed.

    What a killed process left half written of the same folder is removed before; a process that is still writing it
    keeps others from doing so.

    Args:
        path: the folder, which must not exist or be empty.

    Raises:
        FileExistsError: something is there already.
        FolderInUseError: another process is writing the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with held(path.parent, "folder", name=f".{path.name}.lock", what=path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(f"{str(path)!r} exists already; remove it, or name another folder")
        remove_unfinished(path.parent, path.name)
        beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED))
        try:
            yield beside
            beside.chmod(0o777 & ~_umask())  # mkdtemp makes private folders
            beside.replace(path)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def remove_unfinished(folder: Path, name: str = "") -> list[str]:
    """Remove what killed processes left beside what they were writing; whoever calls this must hold the folder.

    Args:
        folder: where they wrote.
        name: of the file or folder that they wrote; any if empty.

    Returns:
        The names of what was removed.
    """
    paths = sorted(folder.glob(f".{glob.escape(name)}.*{_UNFINISHED}" if name else f".*{_UNFINISHED}"))
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return [path.name for path in paths]


def _keep(path: Path, keep: Path) -> None:
    """Give the content of ``path`` a second name, so that at every moment at least one of the two is there."""
    link = keep.with_name(f".{keep.name}{_UNFINISHED}")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        path.replace(keep)
    else:
        link.replace(keep)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk; not every file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def stamp_of(paths: Iterable[str | Path]) -> str:
    """Return a short hash of the sizes of files and of when they were last changed; a missing file is no error.

    It tells whether files are still what they were, without reading them; another copy has another stamp.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
            digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"missing\n")
    return digest.hexdigest()[:16]
