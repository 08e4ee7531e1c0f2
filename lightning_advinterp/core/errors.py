"""What is wrong with an input is said in one line; what is wrong with the program shows where it happened."""

import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, NoReturn

from lightning_advinterp.core.files import write_text
from lightning_advinterp.core.names import printable

TRACEBACK = "traceback.txt"
"""Lies in the folder of a command that stopped by a fault of the program."""

_SIGNALS = 128
"""A status above this says which signal ended a command."""

_PARSERS = ("jsonargparse", "argparse")
_SPEAKERS = ("lightning_advinterp", *_PARSERS, "yaml")
"""Packages whose ``ValueError`` says what is wrong with an input; one from elsewhere may be a fault of the program."""


class RunStoppedError(Exception):
    """A run that cannot go on for a reason outside the program; the message says what and what to do."""


class Failure(NamedTuple):
    """Why one of several processes cannot go on.

    Attributes:
        rank: its number.
        line: what is to be said of it.
        status: with which the command ends.
        analysis: the analysis that failed and may be left out; None: the command ends.
    """

    rank: int
    line: str
    status: int = 1
    analysis: str | None = None


class PeerFailedError(Exception):
    """Another process of the same command cannot go on; all processes know."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.line)
        self.failure = failure


class DamagedFileError(ValueError):
    """A file that is read back and is not what was written; the message names it and what to do."""


class Command:
    """The command that is under way.

    Attributes:
        folder: where the traceback of a fault is kept; None until the command line is read.
        first: whether this process speaks for all those that share the command.
        announce: tells the others why this process ends, and returns when they know; None: it is alone.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.first = True
        self.announce: Callable[[str, int], None] | None = None

    def end(self, line: str, status: int) -> NoReturn:
        """End the command in one line, which the first process prints, whoever has failed."""
        if self.first:
            print(line, file=sys.stderr, flush=True)
        if self.announce is not None:
            self.announce(line, status)
        # A launcher kills all processes at the first status that is not 0, the first process in the middle of its line.
        sys.exit(status if self.first else 0)


_command: ContextVar[Command | None] = ContextVar("command", default=None)


_UNION = "Does not validate against any of the Union subtypes"
_OF_THE_PARSER = ("Expected a", "Not a", "Not of type", "Problem with", "Parser key", _UNION, "a class path", "a dict")


def reason_within(message: str) -> str | None:
    """Return what a class said about its arguments, where the parser tried several types and tells of all of them.

    Args:
        message: of the parser.

    Returns:
        The first sentence that is not the parser's own; None where there is none.
    """
    if _UNION not in message:
        return None
    bullets = [line.strip().removeprefix("- ") for line in message.splitlines() if line.strip().startswith("- ")]
    return next((text for text in bullets if not text.startswith(_OF_THE_PARSER)), None)


@contextmanager
def plain_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn a wrong input into one line and exit status 2.

    Only the checking of input belongs inside: a ``ValueError`` of a computation is a mistake of the program, and
    needs its traceback. One that another library raised here may be either: it gets its line, and the traceback is kept
    in the command's folder.

    Args:
        *kinds: further exceptions that say what is wrong with an input.
    """
    try:
        yield
    except (ValueError, OSError, *kinds) as error:  # type: ignore[misc]  # the kinds are exceptions
        first: BaseException = error
        reason = reason_within(str(first))
        # The parser wraps what a class said; what this package wraps, it names better.
        while reason is None and isinstance(first.__cause__, ValueError) and _speaker(first.__traceback__) in _PARSERS:
            first = first.__cause__
            reason = reason_within(str(first))
        expected = isinstance(error, (OSError, *kinds)) or _speaker(error.__traceback__) in _SPEAKERS
        traceback_line = "" if expected else _kept_traceback(error)
        (_command.get() or Command()).end(f"error: {printable(reason or str(first))}{traceback_line}", 2)


@contextmanager
def stops_explained(*kinds: type[Exception]) -> Iterator[Command]:
    """Turn whatever stops a command into one line: a known reason, Ctrl-C, or a fault of the program.

    A known reason, and files that cannot be written, end with status 1, Ctrl-C with 130. A fault of the program ends
    with status 1 too; its traceback is kept in the command's folder, which the line names.

    Args:
        *kinds: further exceptions that say what stopped a run.

    Yields:
        The command, to be told its folder.
    """
    command = Command()
    token = _command.set(command)
    try:
        yield command
    except KeyboardInterrupt:
        _stop_by_interrupt(command)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning makes status 1 of it
            _stop_by_interrupt(command)
        raise
    except PeerFailedError as error:
        command.announce = None  # they know
        command.end(error.failure.line, error.failure.status)
    except (RunStoppedError, DamagedFileError, OSError, *kinds) as error:  # type: ignore[misc]
        lines = str(error).strip().splitlines() or [type(error).__name__]
        # A loader's worker puts its traceback before the message.
        command.end(f"error: {printable(lines[-1])}", 1)
    except Exception as error:
        request = asked_to_stop(error)
        if isinstance(request, KeyboardInterrupt):
            _stop_by_interrupt(command)
        if request is not None:
            raise request from None
        killed = ended_worker(error)
        command.end(f"error: {killed or printable(_summary(error)) + _kept_traceback(error)}", 1)
    finally:
        _command.reset(token)


@contextmanager
def termination_explained() -> Iterator[None]:
    """Let SIGTERM end a command in one line and status 143, after its open files and processes are closed.

    Where somebody listens to the signal already, nothing changes: a training saves before it stops.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if (_command.get() or Command()).first:
            print("\nstopped by SIGTERM; the same command goes on from what is saved", file=sys.stderr)
        raise SystemExit(_SIGNALS + number)

    main = threading.current_thread() is threading.main_thread()  # signals reach the main thread alone
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def asked_to_stop(error: BaseException) -> BaseException | None:
    """Return the request to stop in whose course an error came up, as when workers end too; None: there is none."""
    context = error.__context__
    while context is not None:
        signalled = isinstance(context, SystemExit) and isinstance(context.code, int) and context.code > _SIGNALS
        if signalled or isinstance(context, KeyboardInterrupt):
            return context
        context = context.__context__
    return None


def _stop_by_interrupt(command: Command) -> NoReturn:
    if command.first:
        print("\nstopped by Ctrl-C; the same command goes on from what is saved", file=sys.stderr)
    sys.exit(_SIGNALS + signal.SIGINT)


def ended_worker(error: BaseException | None) -> str:
    """Return what to say of a loader's worker that was ended from outside; empty where that is not the reason."""
    while error is not None:
        ended = re.search(r"DataLoader worker \(pid.*?\) (is killed by signal: [\w ]+|exited unexpectedly)", str(error))
        if ended is not None:
            return (
                f"{ended[0].strip()}. Mostly the memory did not suffice: set fewer num_workers (0 loads in the main "
                "process), or a smaller batch_size; the same command goes on from what is saved."
            )
        error = error.__cause__ or error.__context__
    return ""


def _summary(error: Exception) -> str:
    """Return the kind of an error and the line of its message that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["without a message"]
    # A loader's worker puts its traceback before the message; others put their advice after it.
    return f"{type(error).__name__}: {lines[-1] if 'Original Traceback' in str(error) else lines[0]}"


def _kept_traceback(error: Exception) -> str:
    """Write the traceback into the command's folder and return where it is; without a folder, print it."""
    text = "".join(traceback.format_exception(error))
    command = _command.get()
    if command is not None and command.folder is not None:
        path = command.folder / TRACEBACK
        try:
            write_text(path, text)
        except OSError:
            pass
        else:
            return f" (where it happened stands in {path})"
    print(text, file=sys.stderr)
    return ""


def _speaker(trace: TracebackType | None) -> str:
    """Return the top package of the code that raised an error."""
    frames: list[Any] = [frame for frame, _ in traceback.walk_tb(trace)]
    return str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""
