"""Find the images of a folder: which splits, which classes, which files.

Three layouts are read, in a fixed order (by class, then file name):

* ``DIR/<split>/<class>/*.jpg`` with splits ``train``, ``val``, ``test`` (a split may also hold plain images);
* ``DIR/<class>/*.jpg``: one split, called ``all``;
* ``DIR/*.jpg``: images without labels, also ``all``.

Only the file system is read; lists in CSV or text files are ignored. Hidden files are ignored too.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lightning_advinterp.names import printable

SPLITS = ("train", "val", "test")
ALL = "all"
UNLABELLED = -1
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        name: ``train``, ``val``, ``test``, or ``all`` for a folder without splits.
        paths: POSIX paths relative to the scanned folder, by class, then file name.
        positions: for each path the position of its class in ``classes``; −1 without labels.
        classes: names of the class folders in sorted order; empty without labels.
    """

    name: str
    paths: list[str]
    positions: list[int]
    classes: list[str]

    @property
    def labelled(self) -> bool:
        """Whether the images lie in class folders."""
        return bool(self.classes)


def scan_folder(root: str | Path) -> dict[str, Split]:
    """Find all images of a folder.

    Args:
        root: a folder of one of the layouts above.

    Returns:
        Name of the split to its images: some of ``train``, ``val``, ``test``, or only ``all``.

    Raises:
        FileNotFoundError: the folder does not exist, or holds no image.
        ValueError: a class folder without an image, or splits with different classes.
    """
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise FileNotFoundError(f"root must be a folder of images, found {found} at {str(root)!r}")
    folders, images = _listing(root)
    names = [name for name in SPLITS if name in folders]
    if names and (set(folders) <= set(SPLITS) or any(_listing(root / name)[0] for name in names)):
        splits = {name: _scan_split(root, name) for name in names}
        _check_same_classes(root, splits)
        return splits
    if folders:
        return {ALL: _scan_classes(root, "", folders, ALL)}
    if images:
        return {ALL: Split(ALL, images, [UNLABELLED] * len(images), [])}
    raise FileNotFoundError(_nothing_found(root))


def _scan_split(root: Path, name: str) -> Split:
    folders, images = _listing(root / name)
    if folders:
        return _scan_classes(root, f"{name}/", folders, name)
    if images:
        return Split(name, [f"{name}/{image}" for image in images], [UNLABELLED] * len(images), [])
    raise FileNotFoundError(_nothing_found(root / name))


def _scan_classes(root: Path, prefix: str, classes: list[str], split: str) -> Split:
    paths: list[str] = []
    positions: list[int] = []
    empty: list[str] = []
    for position, name in enumerate(classes):
        images = _listing(root / prefix / name)[1]
        if not images:
            empty.append(name)
        paths += [f"{prefix}{name}/{image}" for image in images]
        positions += [position] * len(images)
    if len(empty) == len(classes):
        raise FileNotFoundError(_nothing_found(root / prefix))
    if empty:
        raise ValueError(
            f"{len(empty)} of {len(classes)} class folders in {str(root / prefix)!r} hold no image: "
            f"{shorten(empty)}; expected DIR/<class>/*.jpg or DIR/<split>/<class>/*.jpg with splits "
            f"{', '.join(SPLITS)}: remove the empty folders, or point root to the right level"
        )
    return Split(split, paths, positions, classes)


def _listing(folder: Path) -> tuple[list[str], list[str]]:
    """Return the sorted names of the folders and of the images in a folder (links are followed)."""
    folders, images = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                images.append(entry.name)
    return sorted(folders), sorted(images)


def _check_same_classes(root: Path, splits: dict[str, Split]) -> None:
    labelled = [split for split in splits.values() if split.labelled]
    for other in labelled[1:]:
        first = labelled[0]
        missing = sorted(set(first.classes) - set(other.classes))
        extra = sorted(set(other.classes) - set(first.classes))
        if missing or extra:
            found = [f"{first.name!r} has {len(first.classes)} classes, {other.name!r} {len(other.classes)}"]
            if missing:
                found.append(f"only in {first.name!r}: {shorten(missing)}")
            if extra:
                found.append(f"only in {other.name!r}: {shorten(extra)}")
            raise ValueError(
                f"the splits of {str(root)!r} must have the same class folders, but {'; '.join(found)}; "
                "add the missing folders, or read the splits as separate folders"
            )


def _nothing_found(folder: Path) -> str:
    folders, _ = _listing(folder)
    files = sum(1 for entry in folder.iterdir() if entry.is_file())
    return (
        f"no image in {str(folder)!r}: found {len(folders)} folders ({shorten(folders)}) and {files} files; "
        f"expected <class>/*.jpg, <split>/<class>/*.jpg or *.jpg "
        f"(extensions {', '.join(sorted(EXTENSIONS))} in any case)"
    )


def shorten(names: Iterable[str], limit: int = 5) -> str:
    """List the first names of a long list, for messages.

    Example:
        >>> shorten(["a", "b", "c"], limit=2)
        'a, b, … (3)'
    """
    names = [printable(name) for name in names]
    if not names:
        return "none"
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)})"
