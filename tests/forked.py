"""Processes that are forked from one that has imported everything, in place of Pythons that import it anew."""

import logging
import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn


def run_and_leave(body: Callable[[], None], log: Path) -> NoReturn:
    """Call ``body`` in a session of its own, write what it prints to ``log``, and end the process with its status."""
    status = 1
    try:
        os.setsid()
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        body()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


class ForkedPython:
    """What :class:`subprocess.Popen` makes of ``python SCRIPT FLAGS``.

    Lightning's launchers start further processes of the command in the same way. It saves the imports, five seconds of
    each process; at least one test of each command starts it as a user does.

    Args:
        command: as above.
        env: all variables of the process; those of this one if left out.
        cwd: its folder; that of this process if left out.
        captured: whether what it prints is kept for :meth:`communicate`; else it goes where this process prints.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        captured: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self._printed = [tempfile.TemporaryFile("w+") for _ in range(2)] if captured else []  # noqa: SIM115
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(list(command[1:]), dict(os.environ if env is None else env), cwd)

    def _run(self, words: list[str], env: dict[str, str], cwd: str | None) -> NoReturn:
        status = 1
        try:
            for number, file in enumerate(self._printed, start=1):
                os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
            if self._printed:
                os.setsid()
            forget_the_tests()
            os.environ.clear()
            os.environ.update(env)
            if cwd is not None:
                os.chdir(cwd)
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def poll(self) -> int | None:
        """Return the status, or None where it runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the end, and return the status.

        Raises:
            TimeoutError: where it still runs after so many seconds; it is killed.
        """
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                self.send_signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"the process {self.pid} ran for more than {timeout:g} s")
            time.sleep(0.01)
        return self.returncode

    def communicate(self, timeout: float) -> list[str]:
        """Wait for the end, and return what it printed on both streams."""
        self.wait(timeout)
        texts = []
        for file in self._printed:
            file.seek(0)
            texts.append(file.read())
            file.close()
        return texts

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        if self.returncode is None:
            os.kill(self.pid, number)


def forget_the_tests() -> None:
    """Undo what pytest made of signals, logs and warnings, and let Lightning fork what it starts."""
    import lightning_fabric.strategies.launchers.subprocess_script as of_fabric
    import pytorch_lightning.strategies.launchers.subprocess_script as of_trainer

    of_fabric.subprocess = of_trainer.subprocess = SimpleNamespace(Popen=ForkedPython)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    warnings.showwarning = _print_warning


def _print_warning(message, category, filename, lineno, file=None, line=None) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
