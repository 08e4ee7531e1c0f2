"""What the files of a set of adversarial images say, sealed so that a change shows, and read back or refused.

``manifest.json`` carries a hash of itself, and the JSON of a part one of its number, its rows, the checksum of its
images and the manifest: a row that was dropped, doubled or edited, and a part of another set or place, are noticed.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.files import write_json
from lightning_advinterp.core.names import readable_json
from lightning_advinterp.core.reading import read_json

FORMAT = 3
"""Sets of format 1 have no seals; they are read, and their rows are checked as far as that goes without. Sets before
format 3 do not say how far the attack may go, and hold 8-bit images alone."""

Pixels = Literal["uint8", "float32"]
"""How images are kept: rounded to 8 bits as PNG, or as the attack made them."""

MANIFEST = "manifest.json"
_MOST = 10**9
"""Images of a set."""

_SINCE_FORMAT_3 = ("settings", "pixels")
_PART = re.compile(r"part-(\d{5,})\.(json|zip)")
_REMEDY = "restore it from a copy, or make the set anew in another folder"


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
        settings: the attack's radius (``eps``, ``eps_low``, ``norm``), ``steps`` and ``restarts``; empty where unknown.
        pixels: how the images are kept.
        format: of the files.
    """

    attack: str
    seed: int
    network: Mapping[str, Any]
    data: str
    items: int
    part: int
    shape: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    pixels: Pixels = "uint8"
    format: int = FORMAT

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.items // self.part)

    @property
    def bytes(self) -> int:
        """Most bytes that the images take: PNG stores what it cannot compress as it is."""
        values = int(np.prod(self.shape)) * (4 if self.pixels == "float32" else 1)
        return self.items * (values + self.shape[1] + 1024)

    def items_of(self, part: int) -> range:
        """Return the items of a part."""
        return range(part * self.part, min((part + 1) * self.part, self.items))

    @property
    def content(self) -> dict[str, Any]:
        """What the file holds beside its seal."""
        content: dict[str, Any] = json.loads(json.dumps(readable_json(asdict(self))))
        if self.format < 3:
            content = {name: value for name, value in content.items() if name not in _SINCE_FORMAT_3}
        return content


class Part(NamedTuple):
    """The JSON of one part.

    Attributes:
        sha256: of the file of its images.
        rows: one of every image.
    """

    sha256: str
    rows: list[AdversarialRow]


def images_path(folder: Path, part: int) -> Path:
    """Return where the images of a part lie."""
    return folder / f"part-{part:05d}.zip"


def rows_path(folder: Path, part: int) -> Path:
    """Return where the rows of a part lie."""
    return folder / f"part-{part:05d}.json"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` with its seal."""
    content = manifest.content
    write_json(folder / MANIFEST, dict(sorted((content | {"sha256": _seal(content)}).items())), indent=2)


def read_manifest(folder: Path) -> tuple[Manifest, int]:
    """Return what a set is made of, and the format of its files.

    Raises:
        FileNotFoundError: if the folder holds no set.
        DamagedFileError: if the file is not what was written.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no adversarial set: there is no {MANIFEST}.")
    content = read_json(path, _REMEDY)
    is_supported = isinstance(content, dict) and type(content.get("format")) is int and 1 <= content["format"] <= FORMAT
    if not is_supported:
        raise DamagedFileError(
            f"{path}: expected the manifest of an adversarial set of format 1 to {FORMAT}; {_REMEDY}."
        )
    sealed, version = content.pop("sha256", None), content["format"]
    if version > 1 and sealed != _seal(content):
        raise DamagedFileError(f"{path} was changed after it was written; {_REMEDY}.")
    kinds = {"attack": str, "seed": int, "network": dict, "data": str, "items": int, "part": int, "shape": list}
    kinds |= {"settings": dict, "pixels": str} if version > 2 else {}
    wrong = [name for name, kind in kinds.items() if type(content.get(name)) is not kind]
    if wrong or len(content) != len(kinds) + 1 or content.get("pixels", "uint8") not in get_args(Pixels):
        raise DamagedFileError(
            f"{path}: expected {', '.join(kinds)}; {', '.join(wrong) or 'other keys'} are not these."
        )
    manifest = Manifest(**content | {"shape": tuple(content["shape"])})
    sizes = (manifest.items, manifest.part, *manifest.shape)
    if len(manifest.shape) != 3 or not all(type(size) is int and 1 <= size <= _MOST for size in sizes):
        raise DamagedFileError(f"{path}: items, part and shape must be numbers from 1, three for the shape; {_REMEDY}.")
    return manifest, version


def write_part(folder: Path, manifest: Manifest, number: int, part: Part) -> None:
    """Write the JSON of a part, whose images are there."""
    rows = [row._asdict() for row in part.rows]
    seal = _seal([manifest.content, number, part.sha256, rows])
    write_json(rows_path(folder, number), {"sha256": part.sha256, "seal": seal, "rows": rows})


def read_part(folder: Path, manifest: Manifest, number: int, *, sealed: bool = True) -> Part:
    """Return what is known of a part.

    Args:
        folder: of the set.
        manifest: of the set.
        number: of the part.
        sealed: whether the set's format has seals.

    Raises:
        FileNotFoundError: if the part is not complete.
        DamagedFileError: if its rows are not those that were written.
    """
    path = rows_path(folder, number)
    remedy = f"remove it and {images_path(folder, number).name} to make the part anew"
    content = read_json(path, remedy)
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise DamagedFileError(f"{path} holds no rows; {remedy}.")
    wanted = [manifest.content, number, content.get("sha256"), content["rows"]]
    if sealed and content.get("seal") != _seal(wanted):
        raise DamagedFileError(f"{path} was changed after it was written, or is of another set or part; {remedy}.")
    rows = [_row(entry, path, remedy) for entry in content["rows"]]
    items = manifest.items_of(number)
    if [row.item for row in rows] != list(items) or not isinstance(content.get("sha256"), str):
        raise DamagedFileError(
            f"{path}: expected one row of each of the items {items[0]} to {items[-1]}, in this order, and the images' "
            f"checksum, got {len(rows)} rows; {remedy}."
        )
    return Part(content["sha256"], rows)


def _row(entry: Any, path: Path, remedy: str) -> AdversarialRow:
    kinds = AdversarialRow.__annotations__
    if isinstance(entry, dict) and entry.keys() == kinds.keys():
        # True is an int to Python, and a float of JSON may have lost its point.
        fits = all(type(entry[name]) in ((int, float) if kind is float else (kind,)) for name, kind in kinds.items())
        if fits and all(math.isfinite(entry[name]) and entry[name] >= 0 for name in ("linf", "l2", "source")):
            return AdversarialRow(**entry)
    raise DamagedFileError(f"{path}: expected a row of {', '.join(kinds)}, got {str(entry)[:80]}; {remedy}.")


def parts_there(folder: Path, manifest: Manifest) -> list[int]:
    """Return the numbers of the complete parts, in order.

    Raises:
        DamagedFileError: if there are files of parts that are none of this set.
    """
    numbers, stray = [], []
    for path in sorted(folder.glob("part-*")):
        name = _PART.fullmatch(path.name)
        number = int(name[1]) if name and len(name[1]) < 12 else manifest.parts
        if number >= manifest.parts or path.name not in (
            images_path(folder, number).name,
            rows_path(folder, number).name,
        ):
            stray.append(path.name)
        elif path.suffix == ".json":
            numbers.append(number)
    if stray:
        raise DamagedFileError(
            f"{folder}: {', '.join(map(repr, stray[:5]))} belong to no part of this set of {manifest.parts} parts; "
            "remove what does not belong there."
        )
    return sorted(numbers)


def _seal(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
