"""Which of several analyses an error came from."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning_advinterp.analyses.base.protocol import Analysis

_FAILED = "the analysis that failed: "


@contextmanager
def naming(analysis: Analysis) -> Iterator[None]:
    """Add to an error which analysis it came from: to its traceback, and for :func:`failed_analysis`."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{_FAILED}{analysis.name}")
        raise


def failed_analysis(error: BaseException) -> str | None:
    """Return the name of the analysis that an error of :meth:`Runner.run` came from; None if from none."""
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith(_FAILED)]
    return notes[0].removeprefix(_FAILED) if notes else None
