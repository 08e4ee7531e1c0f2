"""A set of adversarial images on disk: written in parts, resumed after an interruption, readable all the while.

A folder holds ``manifest.json`` (what was made, from what) and for every part ``part-00000.zip`` with its images as
PNG or as NumPy arrays, and then ``part-00000.json`` with one row per image, the checksum of the zip and a seal over all
of it. A part without its JSON does not exist yet. Images are the 8-bit ones that PNG holds, or float32 just as the
attack made them; all that is recorded of them is measured on what is kept.
"""

import hashlib
import io
import logging
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.files import remove_unfinished, write_atomically
from lightning_advinterp.core.locks import LOCK, held
from lightning_advinterp.data.adversarial_parts import (
    FORMAT,
    MANIFEST,
    AdversarialRow,
    Manifest,
    Part,
    images_path,
    parts_there,
    read_manifest,
    read_part,
    rows_path,
    write_manifest,
    write_part,
)
from lightning_advinterp.data.adversarial_pixels import ENDINGS, pixel_bytes, pixels_in
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.data.images import ImageSetDefaults

__all__ = ["AdversarialRow", "AdversarialSet", "AdversarialSetWriter", "Manifest", "share_held"]

logger = logging.getLogger(__name__)

_UNREADABLE = (OSError, SyntaxError, ValueError, KeyError, RuntimeError, EOFError, struct.error, zlib.error)
"""What a damaged archive or picture provokes."""


@contextmanager
def share_held(folder: str | Path, process: int = 0, processes: int = 1) -> Iterator[None]:
    """Keep others from writing this process's parts of a set; processes of other numbers may go on beside it.

    Args:
        folder: of the set.
        process: this process's number.
        processes: how many share the work.

    Raises:
        FolderInUseError: if another process writes the same parts, or shares the work out otherwise.
    """
    own, shares = (LOCK, "") if processes == 1 else (f"{LOCK}-{process}-of-{processes}", f"-of-{processes}")
    with held(folder, name=own):
        for other in sorted(Path(folder).glob(f"{LOCK}*")):
            if other.name != own and not (shares and other.name.endswith(shares)):
                with held(folder, name=other.name):  # refuses if somebody is there
                    pass
        yield


def missing_items(folder: str | Path, manifest: Manifest) -> int:
    """Return how many images are not there yet; nothing is written, and the folder need not exist.

    Raises:
        ValueError: if the folder holds another set.
    """
    if not (Path(folder) / MANIFEST).exists():
        return manifest.items
    _require_same(Path(folder), manifest)
    return manifest.items - sum(len(manifest.items_of(part)) for part in parts_there(Path(folder), manifest))


class AdversarialSetWriter:
    """Writes the parts of a set; several processes may write different parts into one folder.

    Args:
        folder: made where it is missing.
        manifest: of the set.

    Raises:
        ValueError: if the folder holds another set.
        OSError: if the disk has too little room for what is missing.
    """

    def __init__(self, folder: str | Path, manifest: Manifest) -> None:
        self.folder, self.manifest = Path(folder), manifest
        path = self.folder / MANIFEST
        if path.exists():
            _require_same(self.folder, manifest)
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in parts_there(self.folder, manifest):
            if images_path(self.folder, part).exists():
                read_part(self.folder, manifest, part)  # what is damaged shows before any image is attacked
            else:  # removed for being damaged
                rows_path(self.folder, part).unlink(missing_ok=True)
        missing = sum(len(manifest.items_of(part)) for part in self.missing())
        room, needed = shutil.disk_usage(self.folder).free, manifest.bytes * missing // max(manifest.items, 1)
        if needed > room:
            raise OSError(
                f"{folder}: the missing {missing:,} images need up to {needed / 2**30:.3g} GiB, the disk has "
                f"{room / 2**30:.3g} GiB free; make fewer images or targets, or choose another disk."
            )
        if not path.exists():
            remove_unfinished(self.folder, path.name)
            write_manifest(self.folder, manifest)

    def missing(self) -> list[int]:
        """Return the parts that are not complete yet."""
        there = set(parts_there(self.folder, self.manifest))
        return [part for part in range(self.manifest.parts) if part not in there]

    def write(self, part: int, images: Tensor, rows: Sequence[AdversarialRow]) -> None:
        """Write one part: images ``[n, C, H, W]`` as the manifest keeps them, and as many rows.

        It appears once it is complete.

        Raises:
            ValueError: if images and rows are not those of the part.
        """
        wanted = list(self.manifest.items_of(part))
        shape = tuple(images.shape[1:])
        kind = self.manifest.pixels
        if [row.item for row in rows] != wanted or len(images) != len(wanted) or images.dtype != getattr(torch, kind):
            raise ValueError(
                f"part {part} holds the items {wanted[0]} to {wanted[-1]} as {kind}, got {len(rows)} rows and "
                f"{images.dtype} of shape {tuple(images.shape)}."
            )
        if shape != tuple(self.manifest.shape):
            raise ValueError(f"images must have the shape {self.manifest.shape} of the manifest, got {shape}.")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
            for row, image in zip(rows, images.cpu().numpy(), strict=True):
                archive.writestr(zipfile.ZipInfo(f"{row.item}.{ENDINGS[kind]}"), pixel_bytes(image))
        content = packed.getvalue()
        for path in (images_path(self.folder, part), rows_path(self.folder, part)):
            remove_unfinished(self.folder, path.name)
        rows_path(self.folder, part).unlink(missing_ok=True)  # until the end it tells of other images
        write_atomically(images_path(self.folder, part), partial(_write, content))
        write_part(self.folder, self.manifest, part, Part(hashlib.sha256(content).hexdigest(), list(rows)))


class AdversarialSet(ImageSetDefaults):
    """The complete parts of a set: items are images with their source's label, numbered by item.

    Args:
        folder: of the set, which may still be growing; see :meth:`refresh`.

    Attributes:
        manifest: of the set, as written.
        rows: of every image, in order.

    Raises:
        FileNotFoundError: if the folder holds no set.
        DamagedFileError: if rows or the manifest were changed, or there are parts that belong to no set or another one;
            names the file. Images are looked at when they are read, and all at once by :meth:`verify`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._manifest, self._format = read_manifest(self.folder)
        self.manifest: dict[str, Any] = self._manifest.content
        self.rows: list[AdversarialRow] = []
        self._part_of: list[int] = []
        self._open: tuple[int, zipfile.ZipFile] | None = None
        self.classes: Sequence[str] = ()
        self.class_names: Sequence[str] = ()
        self.refresh()
        missing = self._manifest.items - len(self.rows)
        if missing:
            logger.warning(
                "%s: %d of the set's %d images are there; the parts of the others are missing or not made yet.",
                folder,
                len(self.rows),
                self._manifest.items,
            )

    def refresh(self) -> int:
        """Take up the parts that were completed since, and return the number of images."""
        self.rows, self._part_of = [], []
        for number, part in self._parts():
            self.rows += part.rows
            self._part_of += [number] * len(part.rows)
        return len(self.rows)

    def missing(self) -> list[int]:
        """Return the parts that are not complete."""
        there = set(self._part_of)
        return [number for number in range(self._manifest.parts) if number not in there]

    def verify(self, process: int = 0, processes: int = 1) -> list[str]:
        """Return the files of images, among the parts that are there, whose content is not what was written.

        Args:
            process: this process's number, where several look at a share of the parts each.
            processes: how many there are.
        """
        wrong = []
        for number, part in self._parts():
            path = images_path(self.folder, number)
            if number % processes == process and not (path.is_file() and _sha256(path) == part.sha256):
                wrong.append(path.name)
        return wrong

    @property
    def indices(self) -> list[int]:
        """For each place its item number."""
        return [row.item for row in self.rows]

    @property
    def labels(self) -> list[int]:
        """For each place its source's label."""
        return [row.label for row in self.rows]

    @property
    def fingerprint(self) -> str:
        """Short hash of the manifest and of the images that are there."""
        return hashlib.sha256(f"{self.manifest} {self.indices}".encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Batch:
        """Return one image: ``[C, H, W]`` as the set keeps it, its source's label, its item number.

        Raises:
            BadImageError: if it cannot be read, or is not of the set's shape; names its file.
        """
        row, number = self.rows[place], self._part_of[place]
        path, name = images_path(self.folder, number), f"{row.item}.{ENDINGS[self._manifest.pixels]}"
        _, height, width = self._manifest.shape
        try:
            with self._archive(number).open(name) as file:
                pixels = pixels_in(file, self._manifest)
        except (*_UNREADABLE, zipfile.BadZipFile) as error:
            raise BadImageError(
                f"{path}: cannot read {name} as {width} x {height} RGB pixels ({error}); verify() lists all files that "
                "are not what was written."
            ) from error
        return Batch(pixels, torch.tensor(row.label), torch.tensor(row.item))

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay behind: every worker opens its own."""
        return self.__dict__ | {"_open": None}

    def _archive(self, number: int) -> zipfile.ZipFile:
        if self._open is None or self._open[0] != number:
            self.close()
            path = images_path(self.folder, number)
            if not path.is_file():  # a pipe would be waited for
                raise FileNotFoundError(f"there is no file {path.name}")
            self._open = number, zipfile.ZipFile(path)
        return self._open[1]

    def close(self) -> None:
        """Close the file read last."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _parts(self) -> Iterator[tuple[int, Part]]:
        for number in parts_there(self.folder, self._manifest):
            yield number, read_part(self.folder, self._manifest, number, sealed=self._format > 1)


def _require_same(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder with another set."""
    try:
        there, kind = read_manifest(folder)
    except DamagedFileError as error:
        raise ValueError(f"{folder} holds another adversarial set, or a damaged one: {error}") from None
    if kind != FORMAT:
        raise ValueError(f"{folder} holds a set of an earlier version of this program; choose a new folder.")
    if there.content != manifest.content:
        raise ValueError(f"{folder} holds another adversarial set (see its {MANIFEST}); choose a new folder.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(content: bytes, file: Any) -> None:
    file.write(content)
