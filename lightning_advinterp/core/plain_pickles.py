"""Types that weights files hold beside tensors and that are data: NumPy's scalars, arrays and dtypes, and settings.

NumPy's own constructors trust what a pickle says of a dtype, so that a crafted one crashes the process. The stand-ins
here take plain numbers of the length announced, and nothing else.
"""

import argparse
import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_PLAIN_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|U\d{1,4}|S\d{1,4})")
_SCALARS = ("bool_", "bool", *(f"int{n}" for n in (8, 16, 32, 64)), *(f"uint{n}" for n in (8, 16, 32, 64)))
_FLOATS = ("float16", "float32", "float64", "complex64", "complex128", "str_", "bytes_")


class _Dtype:
    """A dtype of plain numbers or text."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"a NumPy dtype {code!r} is no plain number or text")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order in ("<", ">", "="):
            self.dtype = self.dtype.newbyteorder(order)
        elif order != "|":
            raise ValueError(f"a NumPy dtype has no byte order {order!r}")


class _Array(np.ndarray[Any, Any]):
    """An array that takes up its content only where it has the length announced."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        dtype = _plain(kind)
        if not isinstance(raw, bytes) or len(raw) != int(np.prod(shape, dtype=object)) * dtype.itemsize:
            raise ValueError("a NumPy array has not the length that it announces")
        checked: Any = (1, tuple(int(side) for side in shape), dtype, bool(fortran), raw)
        super().__setstate__(checked)


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array((0,), dtype=np.int8)


def _scalar(kind: Any, raw: bytes) -> Any:
    dtype = _plain(kind)
    if not isinstance(raw, bytes) or len(raw) != dtype.itemsize:
        raise ValueError("a NumPy scalar has not the length that it announces")
    return np.frombuffer(raw, dtype)[0].item()


def _plain(kind: Any) -> np.dtype[Any]:
    if not isinstance(kind, _Dtype):
        raise ValueError("a NumPy value has no plain dtype")
    return kind.dtype


def _path(*parts: str) -> str:
    return str(pathlib.PurePosixPath(*map(str, parts)))


class _Settings(argparse.Namespace):
    """Settings of a training script; whatever they are called, they stay in a dictionary of their own."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({str(key): value for key, value in state.items()})


def plain_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what ``torch.serialization.safe_globals`` takes: stand-ins by the names that pickles call them by."""
    stand_ins: dict[str, Callable[..., Any]] = {
        "numpy.dtype": _Dtype,
        "numpy.ndarray": _Array,
        "argparse.Namespace": _Settings,
    }
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):
        stand_ins |= {f"{module}.scalar": _scalar, f"{module}._reconstruct": _reconstruct}
    for name in (*_SCALARS, *_FLOATS):
        stand_ins[f"numpy.{name}"] = getattr(np, name)
    for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"):
        stand_ins |= {f"pathlib.{name}": _path, f"pathlib._local.{name}": _path}
    return [(stand_in, name) for name, stand_in in stand_ins.items()]
