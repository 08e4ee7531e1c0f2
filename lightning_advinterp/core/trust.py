"""What files may ask for: the classes that they name are imported only if the user vouches for them.

A checkpoint says which network it holds. Where that is a class path, importing its module runs code, and whoever wrote
the checkpoint may have laid that module beside it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from lightning_advinterp.core.settings import walked

OnBadWeights = Literal["error", "use"]


@dataclass(frozen=True)
class Trust:
    """What the user vouches for.

    Attributes:
        files: the classes that checkpoints name are imported.
        classes: so are these, since the user's own flags or configuration name them.
        on_bad_weights: ``error`` refuses weights that are no numbers, ``use`` takes them as they are.
    """

    files: bool = False
    classes: frozenset[str] = frozenset()
    on_bad_weights: OnBadWeights = "error"

    def beside(self, trust: "Trust") -> "Trust":
        """Return what both vouch for."""
        bad = trust.on_bad_weights if self.on_bad_weights == "error" else self.on_bad_weights
        return Trust(self.files or trust.files, self.classes | trust.classes, bad)


_current: ContextVar[Trust] = ContextVar("trust", default=Trust())  # noqa: B039  # it is frozen


def current_trust() -> Trust:
    """Return what holds here."""
    return _current.get()


@contextmanager
def trusting(*classes: str, files: bool = False, on_bad_weights: OnBadWeights = "error") -> Iterator[None]:
    """Vouch for files within a block, beside what is vouched for around it; see :class:`Trust`.

    Example:
        >>> with trusting("package.module.Net"):
        ...     current_trust().classes
        frozenset({'package.module.Net'})
    """
    token = _current.set(_current.get().beside(Trust(files, frozenset(classes), on_bad_weights)))
    try:
        yield
    finally:
        _current.reset(token)


def vouch_for(settings: Any, *, files: bool = False, on_bad_weights: OnBadWeights = "error") -> None:
    """Do the same for the rest of the block around: for the classes that settings name, see :func:`named_networks`."""
    trust = Trust(files, frozenset(named_networks(settings)), on_bad_weights)
    _current.set(_current.get().beside(trust))


def named_networks(settings: Any) -> Iterator[str]:
    """Yield every value of a key ``network`` in nested settings.

    Example:
        >>> list(named_networks({"model": {"network": "a.Net"}, "rows": [{"network": "resnet18"}, {"network": None}]}))
        ['a.Net', 'resnet18']
    """
    for path, value in walked(settings):
        if path.endswith(".network") and isinstance(value, str):
            yield value


def require_trusted_class(path: str, source: str) -> None:
    """Refuse a class path that a file names and that nobody vouches for, before anything of it is imported.

    Args:
        path: ``package.module.Class``.
        source: the file, for the message.

    Raises:
        ValueError: saying how to vouch for it.
    """
    trust = _current.get()
    module, _, name = path.rpartition(".")
    if trust.files or path in trust.classes:
        return
    # Only what lies in the module already: a module's __getattr__ may import more.
    if isinstance(vars(sys.modules[module]).get(name) if module in sys.modules else None, type):
        return
    raise ValueError(
        f"{source} names the class {path!r}, and to import it runs code. If you trust the file, give --trust, or name "
        f"the class yourself: --network {path} (in Python: import {module or path} first)."
    )
