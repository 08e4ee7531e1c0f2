"""The 1,000 ImageNet classes: index, wnid and name.

``imagenet_classes.csv`` is sorted by wnid, which is the order of torchvision's class indices; names are
torchvision's (each of them unique). The table is read once, on first use.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class ImageNetClass:
    """One row of the table: class index (0–999), WordNet id such as ``n01440764``, and name."""

    index: int
    wnid: str
    name: str


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """Return the 1,000 classes in index order."""
    table = resources.files("lightning_advinterp.data") / "imagenet_classes.csv"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return tuple(ImageNetClass(int(row["index"]), row["wnid"], row["name"]) for row in rows)


@cache
def _by_wnid() -> dict[str, ImageNetClass]:
    return {entry.wnid: entry for entry in imagenet_classes()}


def is_imagenet_wnid(name: str) -> bool:
    """Tell whether ``name`` is the wnid of one of the 1,000 classes."""
    return name in _by_wnid()


def imagenet_index(wnid: str) -> int:
    """Return torchvision's class index of a wnid.

    Raises:
        KeyError: the wnid is not one of the 1,000 classes.

    Example:
        >>> imagenet_index("n01440764")
        0
    """
    entry = _by_wnid().get(wnid)
    if entry is None:
        raise KeyError(f"wnid must be one of ImageNet's 1,000 classes (such as 'n01440764'), got {wnid!r}")
    return entry.index


def imagenet_name(wnid: str) -> str:
    """Return the name of a wnid, or the wnid itself where it is not one of the 1,000 classes.

    Example:
        >>> imagenet_name("n01440764")
        'tench'
    """
    entry = _by_wnid().get(wnid)
    return wnid if entry is None else entry.name
