"""What lies in folders of images: what is read, and what is not, by its kind."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from PIL import features

from lightning_advinterp.core.names import printable

_AVIF = {".avif"} if "avif" in features.modules and features.check("avif") else set()
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}
    | {".tif", ".tiff", ".gif"}
    | _AVIF
)
"""Endings of files that are taken for images; their content decides what they are."""

_NO_IMAGES = frozenset(
    {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".html", ".htm", ".yaml", ".yml", ".ini", ".db", ".log"}
    | {".py", ".sh", ".pdf", ".lnk", ".url", ".md5", ".sha256", ".license", ".rst"}
)
"""Endings of files that usually lie beside images and are none."""


@dataclass
class Listing:
    """The content of a folder, hidden files and folders left out; links are followed.

    Attributes:
        path: of the folder.
        folders: sorted names.
        images: sorted names of the files that are taken for images.
        unread: files that may be images and are not read, by kind.
    """

    path: Path
    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, path: Path) -> "Listing":
        """List a folder."""
        listing = cls(path)
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    listing._sort_in(entry)
        listing.folders.sort()
        listing.images.sort()
        return listing

    def _sort_in(self, entry: "os.DirEntry[str]") -> None:
        ending = os.path.splitext(entry.name)[1].lower()
        if entry.is_dir():
            self.folders.append(entry.name)
        elif ending not in EXTENSIONS:
            if ending not in _NO_IMAGES:
                self.unread[ending or "without an ending"] += 1
        elif entry.is_file() or not os.path.exists(entry.path):  # a broken link is reported when it is read
            self.images.append(entry.name)
        else:
            self.unread["pipes and devices"] += 1

    @cached_property
    def below(self) -> "dict[str, Listing]":
        """The listings of its folders."""
        return {name: Listing.of(self.path / name) for name in self.folders}

    def walk(self) -> "Iterator[tuple[str, Listing]]":
        """Yield this listing and all below, in a fixed order, each folder once, with the way to it (``a/b/``)."""
        visited: set[tuple[int, int]] = set()
        stack = [("", self)]
        while stack:
            prefix, listing = stack.pop()
            status = os.stat(listing.path)
            if (status.st_dev, status.st_ino) in visited:  # a link that leads back
                continue
            visited.add((status.st_dev, status.st_ino))
            yield prefix, listing
            stack += [(f"{prefix}{name}/", listing.below[name]) for name in reversed(listing.folders)]


def count_images(listing: Listing) -> int:
    """Return how many images lie in a folder and below."""
    return sum(len(part.images) for _, part in listing.walk())


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
