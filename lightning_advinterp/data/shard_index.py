"""Where the images of tar shards lie, and what their samples say of them: one pass over the headers."""

import json
import os
import tarfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from webdataset.tariterators import base_plus_ext

from lightning_advinterp.data.columns import SampleColumns
from lightning_advinterp.data.listing import EXTENSIONS, shorten
from lightning_advinterp.data.stated_labels import StatedLabel

CLASS, RECORD, FOLDER = "cls", "json.label", "folder"
"""Where a label may stand: a file of its own, a key of a JSON file, the folder in a sample's key."""

_BLOCK = 512
_MOST_BYTES = 1_000_000  # of a label


@dataclass
class Sample:
    """The files of a shard that share a key.

    Attributes:
        key: their path without ending.
        files: ending in small letters to the file's place and size in bytes.
    """

    key: str
    files: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """An image of a shard.

    Attributes:
        name: the member's path in the shard.
        offset: of its first byte.
        size: in bytes.
        label: as the sample states it; the folder's path where folders are the labels.
    """

    name: str
    offset: int
    size: int
    label: StatedLabel


def read_samples(shard: Path, file: BinaryIO) -> Iterator[Sample]:
    """Yield the samples of a shard in their order; files with one key follow each other, as webdataset wants them.

    Raises:
        ValueError: if the file is no tar file, is compressed or damaged, or a sample has a file twice.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            yield from _grouped(shard, tar)
    except tarfile.ReadError as error:
        raise ValueError(f"{str(shard)!r} is no plain tar file ({error}); decompress it, or write it anew") from None


def _grouped(shard: Path, tar: tarfile.TarFile) -> Iterator[Sample]:
    sample: Sample | None = None
    for member in _members(shard, tar):
        key, ending = base_plus_ext(member.name)
        basename = os.path.basename(member.name)
        if not member.isreg() or key is None or basename.startswith((".", "__")):  # as webdataset, and macOS's ._ files
            continue
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = Sample(key)
        if ending.lower() in sample.files:
            raise ValueError(f"{str(shard)!r} holds {member.name!r} twice in one sample; write the shard anew")
        sample.files[ending.lower()] = (member.offset_data, member.size)
    if sample is not None:
        yield sample


def _members(shard: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members; warn of a shard that is cut off; refuse a damaged one, which ``tarfile`` does not."""
    end, last = 0, ""
    file = tar.fileobj
    assert file is not None
    size = shard.stat().st_size
    try:
        while (member := tar.next()) is not None:
            end, last = member.offset_data + -(-member.size // _BLOCK) * _BLOCK, member.name
            yield member
            tar.members = []  # type: ignore[attr-defined]  # the list would grow with the shard
    except tarfile.ReadError:
        if end <= size:
            raise
    if end > size:
        warnings.warn(
            f"{str(shard)!r} is cut off within {last!r}: {size:,} bytes; what followed is lost. Write it anew.",
            stacklevel=2,
        )
        return
    file.seek(end)
    block = file.read(_BLOCK)
    if block.strip(b"\0"):
        raise ValueError(f"{str(shard)!r} is damaged at byte {end:,}, behind {last!r}; write it anew")


class LabelReader:
    """Reads samples' labels from where the first sample has its own.

    Args:
        column: where the label stands (``cls``, ``json.label``, any other ending, or ``folder``); None: the first of
            these that the first sample has; without any, samples have no labels.

    Attributes:
        column: the same, once a sample has been read.
    """

    def __init__(self, column: str | None = None) -> None:
        self.column, self._undecided = column, column is None

    def read(self, shard: Path, file: BinaryIO, sample: Sample) -> StatedLabel:
        """Return a sample's label.

        Raises:
            ValueError: if it is missing or no label; names shard and sample.
        """
        if self._undecided:
            self.column, self._undecided = self._first(shard, file, sample), False
        if self.column is None:
            return None
        if self.column == FOLDER:
            return os.path.dirname(sample.key)
        ending, _, name = self.column.partition(".") if self.column.startswith("json.") else (self.column, "", "")
        if ending not in sample.files:
            raise ValueError(
                f"{str(shard)!r}: sample {sample.key!r} has no label ({ending!r}, it has {shorten(sample.files)}); "
                "leave it out, or name the label's ending as label_column"
            )
        text = self._text(shard, file, sample, ending)
        value = json.loads(text).get(name) if name else text.strip()
        return _label(value, f"{str(shard)!r}: sample {sample.key!r}: {self.column}")

    def _first(self, shard: Path, file: BinaryIO, sample: Sample) -> str | None:
        if CLASS in sample.files:
            return CLASS
        if "json" in sample.files:
            record = json.loads(self._text(shard, file, sample, "json"))
            if isinstance(record, dict) and "label" in record:
                return RECORD
        return FOLDER if os.path.dirname(sample.key) else None

    def _text(self, shard: Path, file: BinaryIO, sample: Sample, ending: str) -> str:
        offset, size = sample.files[ending]
        where = f"{str(shard)!r}: sample {sample.key!r}: {ending}"
        if size > _MOST_BYTES:
            raise ValueError(f"{where} is no label: it has {size:,} bytes")
        place = file.tell()
        file.seek(offset)
        content = file.read(size)
        file.seek(place)  # tarfile goes on from where it was
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{where} is no text") from None


def _label(value: object, where: str) -> StatedLabel:
    if isinstance(value, str) and value.lstrip("-").isdecimal() and value.isascii():
        return int(value)
    if isinstance(value, int | str) and not isinstance(value, bool) and value != "":
        return value
    raise ValueError(f"{where} must be a class's number or name, got {value!r}")


def image_ending(shard: Path, sample: Sample, column: str | None) -> str | None:
    """Return the ending of a sample's image, None where it has none.

    Raises:
        ValueError: if it has several and none is named.
    """
    if column is not None:
        return column if column in sample.files else None
    endings = [ending for ending in sample.files if f".{ending.rpartition('.')[2]}" in EXTENSIONS]
    if len(endings) > 1:
        raise ValueError(
            f"{str(shard)!r}: sample {sample.key!r} has {len(endings)} images ({shorten(endings)}); "
            "name the ending of the one to use as image_column"
        )
    return endings[0] if endings else None


def index_shard(shard: Path, columns: SampleColumns, labels: LabelReader) -> list[Entry]:
    """Return the images of a shard in their order.

    Args:
        shard: a tar file.
        columns: which files of a sample are image and label.
        labels: the same for all shards of a set.

    Raises:
        ValueError: naming the shard, and the sample, and what is wrong with it.
    """
    entries: list[Entry] = []
    without: list[str] = []
    with shard.open("rb") as file:
        for sample in read_samples(shard, file):
            ending = image_ending(shard, sample, columns.image)
            if ending is None:
                without.append(sample.key)
                continue
            offset, size = sample.files[ending]
            entries.append(Entry(f"{sample.key}.{ending}", offset, size, labels.read(shard, file, sample)))
    if without:
        warnings.warn(
            f"{str(shard)!r}: not read are {len(without)} samples without an image: {shorten(without)}", stacklevel=2
        )
    return entries
