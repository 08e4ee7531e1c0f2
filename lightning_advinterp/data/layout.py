"""What folders mean: splits or classes, and the layouts that may mean two things."""

from collections import Counter
from pathlib import Path

from lightning_advinterp.core.names import printable
from lightning_advinterp.data.listing import EXTENSIONS, Listing, shorten
from lightning_advinterp.data.split_names import one_each, split_inside, split_of
from lightning_advinterp.taxonomy.wnid import wnid_in

_IMAGES = frozenset({"images", "image", "imgs", "img", "jpegimages"})


def images_folder(listing: Listing) -> str | None:
    """Return the folder that stands for its parent, such as ``images`` in tiny-imagenet, CUB and Food-101."""
    return next((name for name in listing.folders if name.lower() in _IMAGES), None)


def split_folders(top: Listing) -> dict[str, str]:
    """Return the folder of each split; empty where the folders are classes."""
    exact = {name: split for name in top.folders if (split := split_of(name)) is not None}
    if exact and (len(exact) == len(top.folders) or any(top.below[name].folders for name in exact)):
        return one_each(exact, repr(str(top.path)))
    inside = {name: split for name in top.folders if (split := split_inside(name)) is not None}
    if inside and len(inside) == len(top.folders) and all(top.below[name].folders for name in inside):
        return one_each(inside, repr(str(top.path)))
    return {}


def check_level(listing: Listing) -> None:
    """Refuse folders that are no classes, as far as their content tells.

    Raises:
        FileNotFoundError: there is one folder that holds folders alone.
        ValueError: the class folders hold splits, or all the same folders, which may be the classes themselves.
    """
    parts = [listing.below[name] for name in listing.folders]
    bare = [part for part in parts if not part.images and part.folders]
    if len(parts) == 1 and bare:
        raise FileNotFoundError(nothing_found(listing))
    for part in parts:
        splits = [name for name in part.folders if split_of(name)]
        if len(splits) > 1:
            raise ValueError(
                f"the class folders of {str(listing.path)!r} hold splits ({printable(part.path.name)}/ has "
                f"{shorten(splits)}); sort the images into DIR/<split>/<class>/"
            )
    contents = {tuple(part.folders) for part in parts}
    inner = next(iter(contents), ())
    if len(bare) < len(parts) or len(contents) > 1 or len(inner) < 2 or images_folder(parts[0]):
        return
    if not all(wnid_in(name) for name in listing.folders):
        raise ValueError(
            f"the folders {shorten(listing.folders)} in {str(listing.path)!r} all hold the same folders "
            f"({shorten(inner)}), so that either may be the classes; point root to one of them, or move the images "
            "into the class folders themselves"
        )


def read_annotations(folder: Path) -> dict[str, str] | None:
    """Return the class of each file by a list ``*annotations.txt``, if there is one: file, tab, class."""
    lists = sorted(path for path in folder.glob("*annotations.txt") if path.is_file())
    if not lists:
        return None
    labels: dict[str, str] = {}
    text = lists[0].read_text(encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split("\t") if "\t" in line else line.split()
        if not cells:
            continue
        if len(cells) < 2 or not cells[1].strip():
            raise ValueError(f"{str(lists[0])!r}, line {number}: expected a file and its class, got {line!r}")
        if labels.setdefault(cells[0], cells[1].strip()) != cells[1].strip():
            raise ValueError(f"{str(lists[0])!r}, line {number}: {cells[0]!r} has two classes")
    return labels


def nothing_found(listing: Listing, kinds: Counter[str] | None = None) -> str:
    """Say that a folder holds no image, and what it holds instead."""
    files = sum(1 for entry in listing.path.iterdir() if entry.is_file())
    return (
        f"no image in {str(listing.path)!r}: found {len(listing.folders)} folders ({shorten(listing.folders)}) and "
        f"{files} files; expected <class>/*.jpg, <split>/<class>/*.jpg or *.jpg "
        f"(extensions {', '.join(sorted(EXTENSIONS))} in any case){of_kinds(kinds or listing.unread)}"
    )


def of_kinds(kinds: Counter[str]) -> str:
    """Return a sentence about files that are not read; empty where there are none."""
    return f". Not read are {list_kinds(kinds)}" if kinds else ""


def list_kinds(kinds: Counter[str]) -> str:
    """Return how many files of which kinds there are."""
    return f"{sum(kinds.values()):,} files: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(8))
