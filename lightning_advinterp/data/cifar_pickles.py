"""CIFAR-10's pickled batches, read as bytes: neither code nor NumPy's own reader of pickles runs on them.

A crafted array type can crash NumPy while it is unpickled, and crafted numbers the unpickler that is written in C. So
the pure Python one is used, and arrays are taken apart by stand-ins that accept unsigned bytes alone.
"""

import io
import pickle
import stat
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 100_000_000  # CIFAR-10's have 31 million


def read_batch(path: Path, classes: int, row: int) -> tuple[NDArray[np.uint8], list[int]]:
    """Read one batch.

    Args:
        path: of the file.
        classes: number of classes.
        row: bytes per image.

    Returns:
        Images ``[N, row]``, and N labels.

    Raises:
        ValueError: the file is missing, damaged, or holds anything else; names it.
    """
    try:
        return _checked(_unpickle(path), classes, row)
    except Exception as error:  # what a crafted pickle makes of an unpickler has no end of types
        reason = "Ran out of input" if isinstance(error, EOFError) else str(error) or type(error).__name__
        raise ValueError(f"cannot read the CIFAR-10 batch {str(path)!r}: {reason}; fetch it again") from error


def _unpickle(path: Path) -> Any:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > MOST_BYTES:
        raise ValueError(f"it has {status.st_size:,} bytes, no batch has more than {MOST_BYTES:,}")
    return _BytesUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()


def _checked(batch: Any, classes: int, row: int) -> tuple[NDArray[np.uint8], list[int]]:
    if not isinstance(batch, dict):
        raise ValueError(f"expected a dictionary with data and labels, got {type(batch).__name__}")
    missing = [key for key in ("data", "labels") if key not in batch]
    if missing:
        raise ValueError(f"it lacks {' and '.join(missing)}")
    data, labels = batch["data"], batch["labels"]
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise ValueError(f"expected uint8 [N, {row}] and a list of N labels")
    if data.shape != (len(labels), row) or len(data.content) != len(labels) * row:
        raise ValueError(f"expected uint8 [N, {row}] and N labels, got {list(data.shape)} and {len(labels)}")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise ValueError(f"expected labels from 0 to {classes - 1}")
    return np.frombuffer(data.content, np.uint8).reshape(data.shape), labels


class _Type:
    """Stands in for ``numpy.dtype``: unsigned bytes and nothing else."""

    def __init__(self, name: Any = None, *rest: Any) -> None:
        if name not in ("u1", "uint8", "|u1"):
            raise pickle.UnpicklingError(f"the file holds an array of type {str(name)[:20]!r}, expected unsigned bytes")

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or any(part not in (3, "|", None, -1, 0) for part in state):
            raise pickle.UnpicklingError("the file holds an array of a changed type, expected unsigned bytes")


class _Array:
    """Stands in for ``numpy.ndarray``: its shape, and its bytes in C order."""

    shape: tuple[int, ...] = ()
    content = b""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if isinstance(content, str):  # Python 2 wrote bytes as text
            content = content.encode("latin1")
        plain = isinstance(shape, tuple) and all(type(side) is int for side in shape)
        if not plain or not isinstance(kind, _Type) or fortran or not isinstance(content, bytes):
            raise pickle.UnpicklingError("the file holds an array that is not unsigned bytes in C order")
        self.shape, self.content = shape, content


def _new_array(*arguments: Any) -> _Array:
    """Stands in for NumPy's ``_reconstruct``, whose arguments say that an array is still to be filled."""
    return _Array()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Stands in for ``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("the file holds text in an encoding that no CIFAR-10 batch has")
    return text.encode("latin1")


class _BytesUnpickler(pickle._Unpickler):
    """Read dictionaries, lists, strings, numbers and arrays of bytes; refuse everything else."""

    _STAND_INS: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
        ("numpy.core.multiarray", "_reconstruct"): _new_array,
        ("numpy._core.multiarray", "_reconstruct"): _new_array,
        ("_codecs", "encode"): _encoded,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._STAND_INS:
            raise pickle.UnpicklingError(f"the file wants to load {module}.{name}, which no CIFAR-10 batch does")
        return self._STAND_INS[module, name]
