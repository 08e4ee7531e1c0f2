"""A training checkpoint is taken up entry by entry; one that is not what a run writes is named in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.tensor_files import first_line
from lightning_advinterp.datamodules.lightning_internals import raised_while_restoring


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
        if path is None or not raised_while_restoring(error):
            raise
        raise RunStoppedError(
            f"resume: {path} {_wrong(error)}; take the checkpoint before it (resume: FILE), or start a run of another "
            "name from its weights (model.weights)."
        ) from error


def _wrong(error: Exception) -> str:
    return f"has an entry that is not what a run writes ({type(error).__name__}: {first_line(error)})"
