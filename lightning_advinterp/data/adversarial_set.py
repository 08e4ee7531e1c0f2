"""A set of adversarial images on disk: written in parts, resumed after an interruption, readable all the while.

A folder holds ``manifest.json`` (what was made, from what) and for every part ``part-00000.zip`` with its images as
PNG, and then ``part-00000.json`` with one row per image and the checksum of the zip. A part without its JSON does not
exist yet. Images are the 8-bit ones that PNG holds, and all that is recorded of them is measured on these.
"""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.decode import open_image
from lightning_advinterp.files import remove_unfinished, write_atomically, write_text
from lightning_advinterp.locks import LOCK, held

FORMAT = 1


class AdversarialRow(NamedTuple):
    """What is known of one adversarial image.

    Attributes:
        item: its number in the set.
        source: number of the image it was made of.
        label: that image's class.
        target: the class aimed at, or moved away from.
        predicted: the class that the network sees in it.
        success: whether that is what the attack wanted.
        linf: ‖x* − x‖∞ in the [0, 1] range.
        l2: ‖x* − x‖₂.
    """

    item: int
    source: int
    label: int
    target: int
    predicted: int
    success: bool
    linf: float
    l2: float


@dataclass(frozen=True)
class Manifest:
    """What a set is made of; a folder is only ever continued with an equal one.

    Attributes:
        attack: name and settings.
        seed: of the attack's random draws.
        network: hash of the weights, and what describes the network.
        data: fingerprint of the source images.
        items: number of adversarial images in the whole set.
        part: images per part.
        shape: channels, height, width.
    """

    attack: str
    seed: int
    network: Mapping[str, Any]
    data: str
    items: int
    part: int
    shape: tuple[int, ...]

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.items // self.part)

    @property
    def bytes(self) -> int:
        """Most bytes that the images take: PNG stores what it cannot compress as it is."""
        return self.items * (int(np.prod(self.shape)) + self.shape[1] + 1024)

    def items_of(self, part: int) -> range:
        """Return the items of a part."""
        return range(part * self.part, min((part + 1) * self.part, self.items))


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
        text = json.dumps({"format": FORMAT} | asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        path = self.folder / "manifest.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != json.loads(text):
            raise ValueError(f"{folder} holds another adversarial set (see its manifest.json); choose a new folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in range(manifest.parts):
            rows = _rows_path(self.folder, part)
            if rows.exists() and not _images_path(self.folder, part).exists():  # removed for being damaged
                rows.unlink(missing_ok=True)
        missing = sum(len(manifest.items_of(part)) for part in self.missing())
        room, needed = shutil.disk_usage(self.folder).free, manifest.bytes * missing // max(manifest.items, 1)
        if needed > room:
            raise OSError(
                f"{folder}: the missing {missing:,} images need up to {needed / 2**30:.3g} GiB, the disk has "
                f"{room / 2**30:.3g} GiB free; make fewer images or targets, or choose another disk."
            )
        if not path.exists():
            remove_unfinished(self.folder, path.name)
            write_text(path, text)

    def missing(self) -> list[int]:
        """Return the parts that are not complete yet."""
        return [part for part in range(self.manifest.parts) if not _rows_path(self.folder, part).exists()]

    def write(self, part: int, images: Tensor, rows: Sequence[AdversarialRow]) -> None:
        """Write one part: uint8 ``[n, C, H, W]``, and as many rows; it appears once it is complete.

        Raises:
            ValueError: if images and rows are not those of the part.
        """
        wanted = list(self.manifest.items_of(part))
        shape = tuple(images.shape[1:])
        if [row.item for row in rows] != wanted or len(images) != len(wanted) or images.dtype != torch.uint8:
            raise ValueError(
                f"part {part} holds the items {wanted[0]} to {wanted[-1]} as uint8, got {len(rows)} rows and "
                f"{images.dtype} of shape {tuple(images.shape)}."
            )
        if shape != tuple(self.manifest.shape):
            raise ValueError(f"images must have the shape {self.manifest.shape} of the manifest, got {shape}.")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
            for row, image in zip(rows, images.permute(0, 2, 3, 1).cpu().numpy(), strict=True):
                file = io.BytesIO()
                Image.fromarray(image).save(file, format="png")
                archive.writestr(zipfile.ZipInfo(f"{row.item}.png"), file.getvalue())
        content = packed.getvalue()
        for path in (_images_path(self.folder, part), _rows_path(self.folder, part)):
            remove_unfinished(self.folder, path.name)
        _rows_path(self.folder, part).unlink(missing_ok=True)  # until the end it tells of other images
        write_atomically(_images_path(self.folder, part), partial(_write, content))
        entry = {"sha256": hashlib.sha256(content).hexdigest(), "rows": [row._asdict() for row in rows]}
        write_text(_rows_path(self.folder, part), json.dumps(entry) + "\n")


class AdversarialSet(Dataset[Batch]):
    """The complete parts of a set: items are uint8 images with their source's label, numbered by item.

    Args:
        folder: of the set, which may still be growing; see :meth:`refresh`.

    Attributes:
        manifest: of the set, as written.
        rows: of every image, in order.

    Raises:
        FileNotFoundError: if the folder holds no set.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "manifest.json"
        if not path.exists():
            raise FileNotFoundError(f"{folder} holds no adversarial set: there is no manifest.json.")
        self.manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.rows: list[AdversarialRow] = []
        self._part_of: list[int] = []
        self._open: tuple[int, zipfile.ZipFile] | None = None
        self.refresh()

    def refresh(self) -> int:
        """Take up the parts that were completed since, and return the number of images."""
        self.rows, self._part_of = [], []
        for part, entry in self._entries():
            self.rows += [AdversarialRow(**row) for row in entry["rows"]]
            self._part_of += [part] * len(entry["rows"])
        return len(self.rows)

    def verify(self, process: int = 0, processes: int = 1) -> list[str]:
        """Return the files whose content is not what was written.

        Args:
            process: this process's number, where several look at a share of the parts each.
            processes: how many there are.
        """
        wrong = []
        for part, entry in self._entries():
            if part % processes != process:
                continue
            path = _images_path(self.folder, part)
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
                wrong.append(path.name)
        return wrong

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Batch:
        """Return one image: uint8 ``[C, H, W]``, its source's label, its item number."""
        row, part = self.rows[place], self._part_of[place]
        with self._archive(part).open(f"{row.item}.png") as file, open_image(file, ("PNG",)) as opened:
            image = torch.from_numpy(np.array(opened))
        return Batch(image.permute(2, 0, 1), torch.tensor(row.label), torch.tensor(row.item))

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay behind: every worker opens its own."""
        return self.__dict__ | {"_open": None}

    def _archive(self, part: int) -> zipfile.ZipFile:
        if self._open is None or self._open[0] != part:
            self.close()
            self._open = part, zipfile.ZipFile(_images_path(self.folder, part))
        return self._open[1]

    def close(self) -> None:
        """Close the file read last."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for path in sorted(self.folder.glob("part-*.json")):
            yield int(path.stem.removeprefix("part-")), json.loads(path.read_text(encoding="utf-8"))


def _images_path(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.zip"


def _rows_path(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.json"


def _write(content: bytes, file: Any) -> None:
    file.write(content)
