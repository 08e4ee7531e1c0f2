"""What is wrong with an input is said in one line; what is wrong with the program shows where it happened."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class RunStoppedError(Exception):
    """A run that cannot go on for a reason outside the program; the message says what and what to do."""


@contextmanager
def plain_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn a wrong input into one line and exit status 2.

    Only the checking of input belongs inside: a ``ValueError`` of a computation is a mistake of the program, and
    needs its traceback.

    Args:
        *kinds: further exceptions that say what is wrong with an input.
    """
    try:
        yield
    except (ValueError, OSError, *kinds) as error:  # type: ignore[misc]  # the kinds are exceptions
        first: BaseException = error
        while isinstance(first.__cause__, ValueError):  # the parser wraps what a class said about its arguments
            first = first.__cause__
        print(f"error: {first}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def stops_explained(*kinds: type[Exception]) -> Iterator[None]:
    """Turn a run that was stopped for a known reason, or whose files cannot be written, into one line and status 1.

    Args:
        *kinds: further exceptions that say what stopped a run.
    """
    try:
        yield
    except (RunStoppedError, OSError, *kinds) as error:  # type: ignore[misc]
        lines = str(error).strip().splitlines() or [type(error).__name__]
        print(f"error: {lines[-1]}", file=sys.stderr)  # a loader's worker puts its traceback before the message
        sys.exit(1)
