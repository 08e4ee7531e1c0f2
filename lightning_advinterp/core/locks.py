"""One process at a time writes into a folder; a second one learns who it is."""

import contextlib
import errno
import json
import os
import secrets
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""Lies in a folder while a process writes there, and says which."""

HEARTBEAT = 5.0
"""Seconds from one sign of life to the next, for other machines, which cannot see the process."""

PATIENCE = 30.0
"""Seconds without a sign of life after which the process of another machine counts as ended."""


_LONGEST = 4096
"""Bytes of a lock file that are read."""


class FolderInUseError(OSError):
    """Another process writes into the folder."""


@dataclass
class _Hold:
    """A lock of this process.

    Attributes:
        pid: the process; a forked one inherits the record, but not the lock.
        depth: how many blocks of the process rely on it.
        token: tells this hold from others.
        handle: the open lock file.
        folder_made: whether the folder was made for it.
        released: ends the heartbeat.
    """

    pid: int
    depth: int
    token: str
    handle: int
    folder_made: bool
    released: threading.Event


_holds: dict[Path, _Hold] = {}


@contextmanager
def held(
    folder: str | Path,
    argument: str = "output",
    *,
    name: str = LOCK,
    what: str | Path | None = None,
    wait: float = 0.0,
) -> Iterator[None]:
    """Keep other processes from writing into a folder; this one may enter again, as a command within another does.

    The lock is the operating system's, so that it ends with the process, however that ends; forked processes do not
    inherit it. For file systems whose locks do not reach other machines, or that have none, the file names its holder,
    who touches it every few seconds: the holder of a lock that nobody touches any more is taken to have ended.

    Args:
        folder: made where it is missing, and removed again if it stayed empty.
        argument: what names the folder, for the message.
        name: of the lock file; processes that write different files into one folder have different ones.
        what: is written, for the message, where it is not the whole folder.
        wait: so many seconds for a holder who needs the folder for a moment only.

    Raises:
        FolderInUseError: saying who writes there.
        OSError: if the folder cannot be written.
    """
    place = Path(folder).absolute() / name
    hold = _holds.get(place)
    end = time.monotonic() + wait
    while hold is None or hold.pid != os.getpid():
        try:
            hold = _holds[place] = _acquire(place, argument, what or folder)
        except FolderInUseError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.1)
    hold.depth += 1
    try:
        yield
    finally:
        hold.depth -= 1
        if hold.depth == 0 and hold.pid == os.getpid():
            del _holds[place]
            _release(place, hold)


def in_use(place: Path) -> bool:
    """Return whether another process holds a lock file; one that nobody holds any more is removed."""
    try:
        with held(place.parent, name=place.name):
            return False
    except FolderInUseError:
        return True


def _acquire(place: Path, argument: str, what: str | Path) -> _Hold:
    folder, is_new = place.parent, not place.parent.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _open_locked(place)
    except OSError as error:
        raise OSError(
            f"{argument}: cannot write to {what} ({error.strerror or error}); choose another {argument}."
        ) from error
    if handle is None:
        _refuse(place, argument, what)
    hold = _Hold(os.getpid(), 0, secrets.token_hex(8), handle, is_new, threading.Event())
    try:
        if _lives(handle):
            _refuse(place, argument, what)
    except BaseException:
        os.close(handle)
        raise
    try:
        _sign(handle, hold.token)
    except BaseException:
        _release(place, hold)  # a full disk holds no lock
        raise
    threading.Thread(target=_beat, args=(place, hold), daemon=True, name="lock").start()
    return hold


def _open_locked(place: Path) -> int | None:
    """Open the lock file and lock it; None where another process has it."""
    while True:
        handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(handle):
                os.close(handle)
                return None
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, f"{place.name} is no file", str(place))
            # Whoever held it before may have removed it between the two steps.
            if os.fstat(handle).st_ino == os.stat(place).st_ino:
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file; True also where the file system has no locks, since the holder's note decides then."""
    if sys.platform == "win32":
        return True
    try:
        # Not flock: workers of a loader are forked, would inherit the lock, and outlive a killed process for seconds.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def _lives(handle: int) -> bool:
    """Return whether the process that the lock file names goes on, although its lock is not seen from here.

    The file is read by the handle that is locked: closing another one of this process would give up its lock.
    """
    note = _understood(os.pread(handle, _LONGEST, 0))
    if not note:
        return False
    if note["host"] == socket.gethostname():
        alive = note["pid"] != os.getpid() and note["started"] is not None
        return alive and _started(note["pid"]) == note["started"]
    print(f"locked by {_holder(note)}: seeing whether it goes on", file=sys.stderr)
    touched, end = os.fstat(handle).st_mtime_ns, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(HEARTBEAT / 5)
        _lock(handle)  # makes a network file system ask for what is new
        if os.fstat(handle).st_mtime_ns != touched:
            return True
    print(f"{_holder(note)} gives no sign of life and is taken to have ended", file=sys.stderr)
    return False


def _sign(handle: int, token: str) -> None:
    """Write down who holds the lock."""
    note = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "token": token,
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(note).encode(), 0)
    os.fsync(handle)


def _understood(text: bytes) -> dict[str, Any]:
    """Return who holds a lock; empty where the file says nothing that can be understood."""
    try:
        note = json.loads(text)
        return {"host": str(note["host"]), "pid": int(note["pid"])} | {
            key: note.get(key) for key in ("started", "since", "token")
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _started(pid: int) -> str | None:
    """Return when a process of this machine started, which tells it from a later one of the same number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # one that has ended, but that nobody asked about, is no one
    except (OSError, IndexError):
        pass
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
    return "running"  # without /proc: some process has the number


def _refuse(place: Path, argument: str, what: str | Path) -> NoReturn:
    try:
        note = _understood(place.read_bytes())
    except OSError:
        note = {}
    raise FolderInUseError(
        f"{argument}: {what} is in use by {_holder(note)}; wait until it has ended, or choose another {argument}."
    )


def _holder(note: dict[str, Any]) -> str:
    if not note:
        return "another process"
    return f"process {note['pid']} on {note['host']}, since {note['since']}"


def _beat(place: Path, hold: _Hold) -> None:
    """Touch the lock file until it is released; stop the command where another machine's process has taken it."""
    while not hold.released.wait(HEARTBEAT):
        with contextlib.suppress(OSError):
            os.utime(hold.handle if os.utime in os.supports_fd else place)
            token = _understood(os.pread(hold.handle, _LONGEST, 0)).get("token")
            if token not in (None, hold.token):
                print(f"{place} was taken over by another process", file=sys.stderr)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return


def _release(place: Path, hold: _Hold) -> None:
    hold.released.set()
    with contextlib.suppress(OSError):
        place.unlink()  # while it is locked: who opened it meanwhile sees that it is gone
    with contextlib.suppress(OSError):
        os.close(hold.handle)
    if hold.folder_made:
        with contextlib.suppress(OSError):
            place.parent.rmdir()  # nothing was written
