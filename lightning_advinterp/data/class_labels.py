"""From class folders to the labels a network uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lightning_advinterp.core.names import readable
from lightning_advinterp.data.cifar_classes import CLASS_NAMES, WNIDS
from lightning_advinterp.data.class_spelling import number_and_name, plain_spelling, said_numbers, said_places
from lightning_advinterp.data.imagenet_classes import imagenet_classes, imagenet_name, is_imagenet_wnid
from lightning_advinterp.data.scan import shorten
from lightning_advinterp.taxonomy.wnid import wnid_in

IMAGENET_OUTPUTS = 1000

Order = Literal["names", "numbers", "stated", "sorted"]
"""By what classes were given their labels: names of the outputs, numbers that their names say, the numbers that the set
states, or the sorted order of their names."""


@dataclass(frozen=True)
class Outputs:
    """What a trained network's outputs are called.

    Attributes:
        classes: for each output the class folder (or wnid) it was trained on.
        names: for each output a readable name.
    """

    classes: Sequence[str]
    names: Sequence[str]


@dataclass(frozen=True)
class LabelMap:
    """How the class folders of a data set become labels.

    Attributes:
        labels: for each folder, in sorted order, its label.
        classes: for each label its wnid where the folder's name holds one, else the folder's name (all 1,000 wnids
            where the labels are ImageNet's; CIFAR-10's wnids where the folders are its ten classes).
        names: for each label a readable name: ImageNet's for a wnid, else the folder's.
        order: by what the labels were found.
    """

    labels: list[int]
    classes: list[str]
    names: list[str]
    order: Order = "sorted"

    def describe(self, folders: Sequence[str]) -> str:
        """Say in one line which folder has which label, and why."""
        how = {
            "names": "by the names of the outputs",
            "numbers": "by the numbers in the folders' names",
            "stated": "by the numbers that the set states",
            "sorted": "by the sorted order of the class folders",
        }[self.order]
        pairs = []
        for folder, label in zip(folders, self.labels, strict=True):
            wnid = self.classes[label]
            shown = f" ({wnid})" if wnid_in(wnid) is not None and wnid not in folder else ""
            pairs.append(f"{folder} = {label}{shown}")
        return f"labels {how}: {shorten(pairs)}"


@cache
def imagenet_outputs() -> Outputs:
    """Return ImageNet's 1,000 classes in torchvision's order."""
    table = imagenet_classes()
    return Outputs([entry.wnid for entry in table], [entry.name for entry in table])


def cifar10_outputs() -> Outputs:
    """Return CIFAR-10's classes in its own order."""
    return Outputs(list(WNIDS), list(CLASS_NAMES))


def map_labels(
    folders: Sequence[str],
    num_classes: int | None = None,
    outputs: Outputs | None = None,
    *,
    stated: bool = False,
) -> LabelMap:
    """Choose the labels of class folders.

    Where the network's outputs have names, a folder's label is the output of its name, in any spelling, or else the
    output whose number it says. Otherwise the names of ImageNet's classes (with 1,000 outputs) or of CIFAR-10's (ten
    folders for ten outputs) decide, then numbers that the folders say, and at last the folder's position in sorted
    order. A set that numbers its classes itself has these numbers in the place of the last two.

    Args:
        folders: names of the class folders, sorted; or of the classes in the order of their numbers.
        num_classes: outputs of the network; None where there is no network yet.
        outputs: the names of its outputs; None where they are unknown.
        stated: whether the set itself numbers its classes.

    Raises:
        ValueError: a folder that no output is named after; some folders are ImageNet wnids and some not (with 1,000
            outputs); more folders than outputs; numbers that contradict each other.
    """
    if outputs is not None and outputs.classes:
        return _by_outputs(folders, outputs)
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1 (outputs of the network), got {num_classes}")
    count = len(folders) if num_classes is None else num_classes
    if (known := _by_known_set(folders, count)) is not None:
        return known
    if num_classes == IMAGENET_OUTPUTS:
        _check_not_mixed(folders)
    if num_classes is not None and len(folders) > num_classes:
        raise ValueError(
            f"class {folders[num_classes]!r} has label {num_classes}, but the network has {num_classes} "
            f"outputs (labels 0 to {num_classes - 1}) and the data {len(folders)} classes; "
            f"set num_classes={len(folders)}, or remove folders"
        )
    if stated:
        rest = [str(place) for place in range(len(folders), count)]
        return _named(list(range(len(folders))), [*folders, *rest], "stated")
    if (places := said_places(folders, num_classes)) is not None:
        at = dict(zip(places, folders, strict=True))
        return _named(places, [at.get(place, str(place)) for place in range(count)], "numbers")
    numbers = said_numbers(folders)
    if numbers is not None:  # years, for instance: no places, but an order
        ranks = {number: rank for rank, number in enumerate(sorted(numbers))}
        labels = [ranks[number] for number in numbers]
    else:
        labels = list(range(len(folders)))
    return _named(labels, [folder for _, folder in sorted(zip(labels, folders, strict=True))], "sorted")


def _named(labels: list[int], classes: list[str], order: Order) -> LabelMap:
    """Name the classes by the wnids in their names, unless two of them would be called the same."""
    wnids = [wnid_in(name) for name in classes]
    stated = [wnid for wnid in wnids if wnid is not None]
    if len(set(stated)) < len(stated):
        return LabelMap(labels, classes, list(classes), order)
    keys = [name if wnid is None else wnid for name, wnid in zip(classes, wnids, strict=True)]
    names = [imagenet_name(key) if is_imagenet_wnid(key) else name for key, name in zip(keys, classes, strict=True)]
    return LabelMap(labels, keys, names, order)


def _by_known_set(folders: Sequence[str], count: int) -> LabelMap | None:
    """Return the labels of a set that everybody numbers alike, None where the folders are no such set."""
    if count == IMAGENET_OUTPUTS:
        outputs = imagenet_outputs()
    elif count == len(folders) == len(CLASS_NAMES):
        outputs = cifar10_outputs()
    else:
        return None
    places = _spellings(outputs)
    labels = [_place_of(folder, places) for folder in folders]
    resolved = [label for label in labels if label is not None]
    if len(resolved) < len(folders):
        resolved = _by_numbered_names(folders, places) or []
    if len(resolved) < len(folders) or (count == len(CLASS_NAMES) and len(set(resolved)) < count):
        return None
    return LabelMap(resolved, list(outputs.classes), list(outputs.names), "names")


def _check_not_mixed(folders: Sequence[str]) -> None:
    wnid_folders = [name for name in folders if is_imagenet_wnid(wnid_in(name) or "")]
    unknown = [name for name in folders if name not in wnid_folders]
    if wnid_folders:
        raise ValueError(
            f"with num_classes=1000 the class folders must all be ImageNet wnids or none of them, but "
            f"{len(wnid_folders)} are ({shorten(wnid_folders)}) and {len(unknown)} are not ({shorten(unknown)}); "
            "rename or remove the latter, or use a network with as many outputs as folders"
        )


def _by_outputs(folders: Sequence[str], outputs: Outputs) -> LabelMap:
    spellings = _spellings(outputs)
    labels = {folder: _place_of(folder, spellings) for folder in folders}
    if not any(wnid_in(name) for name in outputs.classes):  # then a wnid stands for the name of its noun
        nouns = {folder: imagenet_name(wnid_in(folder) or "") for folder, label in labels.items() if label is None}
        labels |= {folder: _place_of(noun, spellings) for folder, noun in nouns.items() if noun}
    unknown = [folder for folder, label in labels.items() if label is None]
    if unknown and (numbered := _by_numbered_names(folders, spellings)) is not None:
        return LabelMap(numbered, list(outputs.classes), list(outputs.names), "names")
    places = said_places(folders, len(outputs.classes)) if len(unknown) == len(folders) else None
    if places is not None:
        return LabelMap(places, list(outputs.classes), list(outputs.names), "numbers")
    if unknown:
        raise ValueError(
            f"the network knows {len(outputs.classes)} classes ({shorten(list(outputs.classes))}), but "
            f"{len(unknown)} of the {len(folders)} class folders are none of them ({shorten(unknown)}); "
            "remove these folders, or rename them to the classes they hold"
        )
    resolved = [label for label in labels.values() if label is not None]
    return LabelMap(resolved, list(outputs.classes), list(outputs.names), "names")


def _spellings(outputs: Outputs) -> dict[str, int]:
    """Return the output of every spelling that stands for one output alone, exact names before all others."""
    exact = {name: place for place, name in enumerate(outputs.names)}
    exact |= {name: place for place, name in enumerate(outputs.classes)}
    places: dict[str, set[int]] = {}
    for place, names in enumerate(zip(outputs.classes, outputs.names, strict=True)):
        for name in names:
            for spelling in _alike(readable(name)):  # an older checkpoint may hold bytes that are no UTF-8
                places.setdefault(spelling, set()).add(place)
    return {spelling: min(numbers) for spelling, numbers in places.items() if len(numbers) == 1} | exact


def _alike(name: str) -> list[str]:
    """Return what a name may also be spelt as, the surest first; ``tench, Tinca tinca`` is called tench."""
    wnid = wnid_in(name)
    if wnid is not None:  # what stands beside a wnid is no name of its own: the wnid decides
        return [wnid]
    return [plain_spelling(name), plain_spelling(name.partition(",")[0])]


def _place_of(folder: str, places: Mapping[str, int]) -> int | None:
    return next((places[spelling] for spelling in (folder, *_alike(folder)) if spelling in places), None)


def _by_numbered_names(folders: Sequence[str], places: Mapping[str, int]) -> list[int] | None:
    """Return the outputs that names behind numbers stand for (``0_dog``), None unless all are found.

    The name decides, for the number may be another set's. Where most numbers say the same as the names, they do:
    ``264.Cardigan`` is then the dog, not the garment.
    """
    numbered = [number_and_name(folder) for folder in folders]
    pairs = [pair for pair in numbered if pair is not None]
    places_of_names = [_place_of(name, places) for _, name in pairs]
    named = [place for place in places_of_names if place is not None]
    if len(named) < len(folders):
        return None
    for first in (0, 1):
        counted = [number - first for number, _ in pairs]
        same = sum(number == place for number, place in zip(counted, named, strict=True))
        if 2 * same > len(named) and set(counted) <= set(places.values()):
            return counted
    return named
