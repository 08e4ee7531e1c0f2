"""Imports torchvision without ``torch._dynamo``, a third of the time that the package takes to load.

torchvision's ``roi_align`` imports one function of it, which only a deterministic pass of a detector on a GPU calls.
Importing this module before torchvision lets that function load ``torch._dynamo`` when it is called.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_HEAVY = "torch._dynamo.utils"
_WANTED = "is_compile_supported"


class _StandIn(ModuleType):
    """Stands for ``torch._dynamo.utils`` while torchvision is imported; whoever asks for more gets the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own questions to any module
            raise AttributeError(name)
        if sys.modules.get(_HEAVY) is self:
            del sys.modules[_HEAVY]
        return getattr(import_module(_HEAVY), name)


def _deferred(*args: Any, **kwargs: Any) -> Any:
    return getattr(import_module(_HEAVY), _WANTED)(*args, **kwargs)


def _import_torchvision() -> None:
    import torch  # noqa: F401  # the stand-in is not for torch's own imports

    if _HEAVY in sys.modules:
        import_module("torchvision")
        return
    stand_in = _StandIn(_HEAVY)
    setattr(stand_in, _WANTED, _deferred)
    sys.modules[_HEAVY] = stand_in
    try:
        import_module("torchvision")
    finally:
        if sys.modules.get(_HEAVY) is stand_in:
            del sys.modules[_HEAVY]


_import_torchvision()
