"""Images of WebDataset's tar shards, read in any order without unpacking them."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from lightning_advinterp.core.files import stamp_of
from lightning_advinterp.core.names import readable
from lightning_advinterp.data.columns import SampleColumns
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.data.listing import shorten
from lightning_advinterp.data.scan import UNLABELLED, Split
from lightning_advinterp.data.shard_index import FOLDER, Entry, LabelReader, index_shard
from lightning_advinterp.data.split_names import split_of
from lightning_advinterp.data.stated_labels import StatedClasses, StatedLabel
from lightning_advinterp.data.stores import open_bytes

CLASSES = "classes.txt"
"""Beside shards: one name a line, of the classes 0, 1, 2, …"""


class ShardStore:
    """Members of tar files.

    Only places and sizes are in memory, 20 bytes an image; a file is open while an image is read.

    Args:
        shards: the files.
        entries: for each shard its images.
        paths: what messages call the images.
    """

    def __init__(self, shards: Sequence[Path], entries: Sequence[Sequence[Entry]], paths: Sequence[str]) -> None:
        self.shards, self.paths = list(shards), paths
        self._shard = np.repeat(np.arange(len(shards), dtype=np.int32), [len(images) for images in entries])
        self._offset = np.array([image.offset for images in entries for image in images], np.int64)
        self._size = np.array([image.size for images in entries for image in images], np.int64)
        self.digest = hashlib.sha256(self._offset.tobytes() + self._size.tobytes()).hexdigest()

    @contextmanager
    def open(self, number: int) -> Iterator[Image.Image]:
        """See :class:`~lightning_advinterp.data.stores.ImageStore`."""
        shard, offset, size = self.shards[self._shard[number]], int(self._offset[number]), int(self._size[number])
        name = self.paths[number]
        try:
            with shard.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as error:
            raise BadImageError(f"cannot read image {name!r}: {error}; replace the shard") from error
        if len(content) < size:
            reason = f"the shard ends after {len(content):,} of its {size:,} bytes"
            raise BadImageError(
                f"cannot read image {name!r}: {reason}; write the shard anew, or set on_bad_image='skip'"
            )
        with open_bytes(content, name) as image:
            yield image

    def stamp(self, numbers: Sequence[int]) -> str:
        """See :class:`~lightning_advinterp.data.stores.ImageStore`; looks at the shards that hold these images."""
        used = np.unique(self._shard[np.asarray(numbers, np.int64)])
        return stamp_of(self.shards[shard] for shard in used.tolist())


def read_shards(files: Mapping[str, Sequence[Path]], base: Path, columns: SampleColumns) -> dict[str, Split]:
    """Read the headers of shards: which images they hold, and their labels.

    A sample's label is its file ``cls``, or ``label`` in its ``json``, or the folder in its key; what the first sample
    has, all must have. Numbers get names from ``classes.txt`` beside the shards. Images are numbered in the order of
    the shards, then of their members.

    Args:
        files: for each split its shards, in order.
        base: images' paths are relative to it.
        columns: the endings of images and labels, where several may be meant.

    Raises:
        FileNotFoundError: no image.
        ValueError: naming the shard, and the sample, and what is wrong with it.
    """
    labels = LabelReader(columns.label)
    entries = {split: [index_shard(shard, columns, labels) for shard in shards] for split, shards in files.items()}
    stated: dict[str, list[StatedLabel]] = {}
    for split, shards in entries.items():
        stated[split] = [image.label for images in shards for image in images]
        if not stated[split]:
            raise FileNotFoundError(f"no image in the {len(shards)} shards {shorten(map(str, files[split]))}")
    if labels.column == FOLDER:
        stated = _top_folders(stated, base)
    classes = StatedClasses.of(stated, _class_names(files))
    splits = {}
    for split, shards in entries.items():
        paths: list[str] = []
        for shard, images in zip(files[split], shards, strict=True):
            folder = os.path.relpath(shard, base)  # once for each shard: it takes as long as an image's headers do
            paths += [f"{folder}/{image.name}" for image in images]
        positions = classes.positions(stated[split], f"{str(base)!r}, split {split!r}")
        labelled = [readable(name) for name in classes.names] if positions[0] != UNLABELLED else []
        store = ShardStore(files[split], shards, paths)
        splits[split] = Split(split, paths, positions, labelled, numbered=classes.numbered, store=store)
    return splits


def _top_folders(stated: Mapping[str, Sequence[StatedLabel]], base: Path) -> dict[str, list[StatedLabel]]:
    """Return for each image the first folder in which keys differ: that is its class."""
    folders = {split: [str(label).split("/") for label in labels] for split, labels in stated.items()}
    ways = [way for split in folders.values() for way in split]
    level = 0
    while len({way[level] for way in ways}) == 1 and all(len(way) > level + 1 for way in ways):
        level += 1
    names = {way[level] for way in ways}
    if len(names) > 1 and all(split_of(name) for name in names):
        raise ValueError(
            f"{str(base)!r}: the shards hold the splits {shorten(sorted(names))}; write shards for each split, named "
            "train-000000.tar, val-000000.tar, …"
        )
    return {split: [way[level] for way in labels] for split, labels in folders.items()}


def _class_names(files: Mapping[str, Sequence[Path]]) -> list[str] | None:
    """Return what a list beside the shards calls the classes, None where there is none."""
    for folder in dict.fromkeys(shard.parent for shards in files.values() for shard in shards):
        path = folder / CLASSES
        if path.is_file():
            return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    return None
