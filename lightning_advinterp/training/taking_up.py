"""A training checkpoint is taken up entry by entry; one that is not what a run writes is named in one line."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.tensor_files import first_line

_RESTORING = "checkpoint_connector.py"
"""The file of Lightning that hands a checkpoint's entries to the trainer, the module and the callbacks."""


@contextmanager
def entries_of(path: Path) -> Iterator[None]:
    """Around what looks at a checkpoint's entries, which may be of any kind.

    Raises:
        ValueError: naming the file, where an entry is of another kind than a run writes.
    """
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        raise ValueError(f"{path} {_wrong(error)}; to start from its weights, give model.weights.") from None


@contextmanager
def taking_up(path: Path | None) -> Iterator[None]:
    """Around a training that goes on from a checkpoint: what Lightning cannot take up of it is one line.

    Args:
        path: the checkpoint; None where the training starts anew.

    Raises:
        RunStoppedError: naming the file.
    """
    try:
        yield
    except (RunStoppedError, OSError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if path is None or not any(frame.filename.endswith(_RESTORING) for frame in frames):
            raise
        raise RunStoppedError(
            f"resume: {path} {_wrong(error)}; take the checkpoint before it (resume: FILE), or start a run of another "
            "name from its weights (model.weights)."
        ) from error


def _wrong(error: Exception) -> str:
    return f"has an entry that is not what a run writes ({type(error).__name__}: {first_line(error)})"
