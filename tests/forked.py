"""What a forked process does in tests that kill it."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
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
