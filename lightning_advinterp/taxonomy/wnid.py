"""Wnids, and the names that hold one: ``n01440764``, ``N01440764``, ``n01440764_tench``, ``tench (n01440764)``."""

import re

_WNID = re.compile(r"n\d{8}")
_INSIDE = re.compile(r"(?<![a-z0-9])n\d{8}(?![0-9])", re.IGNORECASE)


def is_wnid(name: str) -> bool:
    """Tell whether ``name`` has the form of a wnid, ``n`` and eight digits."""
    return _WNID.fullmatch(name) is not None


def wnid_in(name: str) -> str | None:
    """Return the wnid that a name holds, in its usual spelling; None where it holds none, or several.

    Example:
        >>> wnid_in("N01440764_tench"), wnid_in("tench")
        ('n01440764', None)
    """
    wnids = {wnid.lower() for wnid in _INSIDE.findall(name)}
    return wnids.pop() if len(wnids) == 1 else None
