"""Whether two networks mean the same classes by their outputs: as many are not yet the same."""

import re
from collections.abc import Sequence

from lightning_advinterp.networks.origin import Origin
from lightning_advinterp.taxonomy.wnid import wnid_in

_SEPARATORS = re.compile(r"[\s_\-./]+")


def differing_output(one: Origin, other: Origin) -> str:
    """Return the first output that means another class, in words; empty where all agree or a network's are unknown.

    Spellings do not matter, and of an output's name and wnid one need be the same.
    """
    if not one.classes or not other.classes:
        return ""
    if len(one.classes) != len(other.classes):
        return f"{len(one.classes)} outputs and {len(other.classes)}"
    for place, (first, second) in enumerate(zip(_spellings(one), _spellings(other), strict=True)):
        if not first & second:
            return f"output {place} is {_label(one, place)!r} and {_label(other, place)!r}"
    return ""


def require_same_outputs(one: Origin, other: Origin, what: str, remedy: str) -> None:
    """Refuse two networks, or a network and a data set, whose outputs mean different classes.

    Args:
        one: of the first.
        other: of the second.
        what: the two, for the message.
        remedy: what can be done.

    Raises:
        ValueError: naming the first output that differs.
    """
    difference = differing_output(one, other)
    if difference:
        raise ValueError(f"{what} have other classes: {difference}; {remedy}.")


def _spellings(origin: Origin) -> list[set[str]]:
    names: Sequence[str] = origin.class_names or origin.classes
    return [
        {_plain(label), _plain(name), wnid_in(label) or _plain(label)}
        for label, name in zip(origin.classes, names, strict=True)
    ]


def _plain(name: str) -> str:
    return _SEPARATORS.sub(" ", name).strip().casefold()


def _label(origin: Origin, place: int) -> str:
    return origin.classes[place]
