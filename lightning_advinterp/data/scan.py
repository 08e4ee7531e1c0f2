"""Find the images of a folder: which splits, which classes, which files.

These layouts are read, in a fixed order (by class, then path):

* ``DIR/<split>/<class>/*.jpg`` with the splits train, val and test in their usual spellings (``valid``, ``Testing``,
  ``birds_train``); a split may also hold plain images;
* ``DIR/<class>/*.jpg``: one split, called ``all``;
* ``DIR/*.jpg``: images without labels, also ``all``.

Images in folders inside class folders belong to the class, as in torchvision's ``ImageFolder``. A folder ``images`` is
no class but holds what its parent stands for, and ``val_annotations.txt`` beside it names the classes, as in
tiny-imagenet. What looks like an image and is not read is counted and named in a warning. Hidden files are ignored.
"""

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lightning_advinterp.core.names import printable, readable
from lightning_advinterp.data.layout import (
    check_level,
    images_folder,
    list_kinds,
    nothing_found,
    of_kinds,
    read_annotations,
    split_folders,
)
from lightning_advinterp.data.listing import Listing, count_images
from lightning_advinterp.data.listing import shorten as shorten  # those who read splits list names too
from lightning_advinterp.data.split_names import SPLITS
from lightning_advinterp.data.stores import ImageStore

ALL = "all"
UNLABELLED = -1


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        name: ``train``, ``val``, ``test``, or ``all`` for a folder without splits.
        paths: POSIX paths relative to the scanned folder, by class, then path.
        positions: for each path the position of its class in ``classes``; −1 without labels.
        classes: names of the class folders in sorted order, readable; empty without labels.
        numbered: whether the order of the classes is one that the set itself states, not that of their names.
        store: where the images lie; None: in the scanned folder.
    """

    name: str
    paths: list[str]
    positions: list[int]
    classes: list[str]
    numbered: bool = False
    store: ImageStore | None = None

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
        ValueError: a class folder without an image, splits with different classes, two folders for one split, or a
            layout that may mean two things.
    """
    root = Path(root)
    if not root.is_dir():
        shown = "a file" if root.exists() else "nothing"
        raise FileNotFoundError(f"root must be a folder of images, found {shown} at {str(root)!r}")
    scan = _Scan(root)
    splits = scan.read()
    if scan.unread:
        warnings.warn(f"{str(root)!r}: not read are {'; '.join(scan.unread)}", stacklevel=2)
    return splits


class _Scan:
    """One reading of a folder.

    Attributes:
        unread: what was passed over, for people.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.top = root, Listing.of(root)
        self.unread: list[str] = []

    def read(self) -> dict[str, Split]:
        """Return the splits."""
        named = split_folders(self.top)
        if named:
            splits = {split: self._split(split, folder) for split, folder in named.items()}
            self._note_beside(self.top, set(named.values()), "the splits")
            _check_same_classes(self.root, splits)
            return splits
        return {ALL: self._part(ALL, self.top, "")}

    def _split(self, split: str, folder: str) -> Split:
        return self._part(split, self.top.below[folder], f"{folder}/")

    def _part(self, split: str, listing: Listing, prefix: str) -> Split:
        """Read the images of a split, with class folders or without."""
        labels = read_annotations(listing.path)
        name = images_folder(listing)
        if name is not None and not any(
            count_images(listing.below[neighbour]) for neighbour in listing.folders if neighbour != name
        ):
            inside = listing.below[name]
            if prefix or labels or inside.folders:  # DIR/images/*.jpg alone stays a class folder
                self._note_beside(listing, set(listing.folders), f"{name}/")
                return self._images_folder(split, inside, f"{prefix}{name}/", labels)
        if listing.folders and labels is None:
            self._note_beside(listing, set(listing.folders), "the class folders")
            return self._classes(split, listing, prefix)
        return self._plain(split, listing, prefix, labels)

    def _images_folder(self, split: str, inside: Listing, within: str, labels: dict[str, str] | None) -> Split:
        if inside.folders and labels is None:
            self._note_beside(inside, set(inside.folders), "the class folders")
            return self._classes(split, inside, within)
        return self._plain(split, inside, within, labels)

    def _plain(self, split: str, listing: Listing, prefix: str, labels: dict[str, str] | None) -> Split:
        """Images of one folder, with the classes that a list names, or without labels."""
        if not listing.images:
            raise FileNotFoundError(nothing_found(listing))
        self._note_kinds(listing.unread, listing.path)
        paths = [f"{prefix}{image}" for image in listing.images]
        if labels is None:
            return Split(split, paths, [UNLABELLED] * len(paths), [])
        missing = [image for image in listing.images if image not in labels]
        if missing:
            raise ValueError(
                f"the list of annotations in {str(self.root / prefix)!r} names no class for {len(missing)} of "
                f"{len(paths)} images ({shorten(missing)}); complete it, or sort the images into class folders"
            )
        classes = sorted({labels[image] for image in listing.images})
        place = {name: position for position, name in enumerate(classes)}
        entries = sorted((place[labels[image]], f"{prefix}{image}") for image in listing.images)
        return Split(split, [path for _, path in entries], [position for position, _ in entries], classes)

    def _classes(self, split: str, listing: Listing, prefix: str) -> Split:
        """Images of class folders."""
        check_level(listing)
        paths: list[str] = []
        positions: list[int] = []
        empty: list[str] = []
        kinds: Counter[str] = Counter()
        inner: Counter[str] = Counter()
        for position, name in enumerate(listing.folders):
            images = self._class_images(listing.below[name], kinds, inner)
            if not images:
                empty.append(name)
            paths += [f"{prefix}{name}/{image}" for image in images]
            positions += [position] * len(images)
        self._note_kinds(kinds, listing.path)
        if inner:
            shown = ", ".join(f"{printable(name)}/ ({count:,} images)" for name, count in inner.most_common(5))
            self.unread.append(f"folders beside images/ in class folders: {shown}")
        if len(empty) == len(listing.folders):
            raise FileNotFoundError(nothing_found(listing, kinds))
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(listing.folders)} class folders in {str(listing.path)!r} hold no image: "
                f"{shorten(empty)}; expected DIR/<class>/*.jpg or DIR/<split>/<class>/*.jpg with splits "
                f"{', '.join(SPLITS)}: remove the empty folders, or point root to the right level{of_kinds(kinds)}"
            )
        return Split(split, paths, positions, [readable(name) for name in listing.folders])

    def _class_images(self, listing: Listing, kinds: Counter[str], inner: Counter[str]) -> list[str]:
        """Return the images of one class: those below ``images`` where there is such a folder, else all below."""
        images: list[str] = []
        name = images_folder(listing)
        only = "" if name is None else f"{name}/"
        for prefix, part in listing.walk():
            if only and prefix and not prefix.startswith(only):
                if part.images:
                    inner[prefix.partition("/")[0]] += len(part.images)
                continue
            kinds.update(part.unread)
            images += [f"{prefix}{image}" for image in part.images]
        return sorted(images)

    def _note_beside(self, listing: Listing, used: set[str], what: str) -> None:
        """Note images that lie beside the folders that are read."""
        if listing.images:
            self.unread.append(f"{len(listing.images):,} images beside {what} ({shorten(listing.images)})")
        counts = {name: count_images(listing.below[name]) for name in listing.folders if name not in used}
        shown = [f"{name}/ ({count:,} images)" for name, count in counts.items() if count]
        if shown:
            self.unread.append(f"folders beside {what}: {shorten(shown)}")

    def _note_kinds(self, kinds: Counter[str], where: Path) -> None:
        if kinds:
            self.unread.append(f"{list_kinds(kinds)} in {str(where)!r}")


def _check_same_classes(root: Path, splits: dict[str, Split]) -> None:
    labelled = [split for split in splits.values() if split.labelled]
    for other in labelled[1:]:
        first = labelled[0]
        missing = sorted(set(first.classes) - set(other.classes))
        extra = sorted(set(other.classes) - set(first.classes))
        if missing or extra:
            differences = [f"{first.name!r} has {len(first.classes)} classes, {other.name!r} {len(other.classes)}"]
            if missing:
                differences.append(f"only in {first.name!r}: {shorten(missing)}")
            if extra:
                differences.append(f"only in {other.name!r}: {shorten(extra)}")
            raise ValueError(
                f"the splits of {str(root)!r} must have the same class folders, but {'; '.join(differences)}; "
                "add the missing folders, or read the splits as separate folders"
            )
