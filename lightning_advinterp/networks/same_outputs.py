"""Whether two networks mean the same classes by their outputs: as many are not yet the same."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_advinterp.networks.origin import Origin
from lightning_advinterp.taxonomy.wnid import wnid_in

_SEPARATORS = re.compile(r"[\s_\-./]+")


def differing_output(first: Origin, second: Origin) -> str:
    """Return the first output that means another class, in words; empty where all agree or a network's are unknown.

    Spellings do not matter, and of an output's name and wnid one need be the same.
    """
    if not first.classes or not second.classes:
        return ""
    if len(first.classes) != len(second.classes):
        return f"{len(first.classes)} outputs and {len(second.classes)}"
    for place, (spelt, other_spelt) in enumerate(zip(_spellings(first), _spellings(second), strict=True)):
        if not spelt & other_spelt:
            return f"output {place} is {_label(first, place)!r} and {_label(second, place)!r}"
    return ""


def require_same_outputs(first: Origin, second: Origin, what: str, remedy: str) -> None:
    """Refuse two networks, or a network and a data set, whose outputs mean different classes.

    Args:
        first: of one network.
        second: of another network, or of the data.
        what: the two, for the message.
        remedy: what can be done.

    Raises:
        ValueError: naming the first output that differs.
    """
    difference = differing_output(first, second)
    if difference:
        raise ValueError(f"{what} have other classes: {difference}; {remedy}.")


def require_recorded_outputs(checkpoint: Mapping[str, Any], trained: Origin, what: str) -> None:
    """Refuse to go on with a checkpoint whose outputs mean other classes than the data's.

    Args:
        checkpoint: of a run of this project.
        trained: of the network that is trained, with the data's classes.
        what: the checkpoint, for the message.

    Raises:
        ValueError: naming the first output that differs.
    """
    recorded = checkpoint.get("advinterp", {})
    classes, names = recorded.get("classes", ()), recorded.get("class_names", recorded.get("classes", ()))
    before = Origin(classes=tuple(classes), class_names=tuple(names))
    remedy = (
        "take the data of that run, or give this run another name (its weights and a new last layer: model.weights "
    )
    remedy += "and model.new_head: true)"
    require_same_outputs(before, trained, f"{what} and the data", remedy)


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
