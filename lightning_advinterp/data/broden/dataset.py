"""A set in Broden's format as a data set: images for the network, and their label maps beside them."""

import copy
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.broden.files import INDEX, FolderFiles, SetFiles, TarFiles, set_files
from lightning_advinterp.data.broden.findings import HELP, BrodenError, Findings, unusable
from lightning_advinterp.data.broden.index import Row, map_places, parse_cell, read_index
from lightning_advinterp.data.broden.maps import Labels, Segmentation, read_map, unreadable
from lightning_advinterp.data.broden.tables import TableReader
from lightning_advinterp.data.broden.vocabulary import LARGEST, Concept, read_vocabulary
from lightning_advinterp.data.decode import BadImageError, open_image, to_rgb
from lightning_advinterp.data.images import ImageSetDefaults
from lightning_advinterp.data.scan import UNLABELLED


class BrodenDataset(ImageSetDefaults):
    """Images of a set in Broden's format (``broden1_224``, ``_227``, ``_384``, or any set with the same files).

    Only the index is kept in memory; images and maps are read when asked for. Opening checks all tables and that every
    file is there, and tells all findings at once; :func:`~lightning_advinterp.data.broden.check.check_set` decodes the
    files too.

    An image has a *number*, its row in index.csv from 0, whatever split or choice it is seen through. ``Batch.index``
    is that number, and :meth:`segmentation` and :meth:`path_of` take it; ``dataset[item]`` counts positions in the
    data set. In a whole set the two are the same.

    Args:
        root: the folder that holds index.csv, or one uncompressed tar file of such a folder, which is not unpacked.
        size: side in pixels of the square that the network sees, whatever the size of the maps; the whole image is
            resized to it (bilinear, antialiased) and never cropped, so that maps stay in place. None: as stored.
        split: use the rows of this split; None: all, as the papers do.

    Attributes:
        categories: names, in the order of category.csv; a category number is a place in this list.
        concepts: by label number.
        label_size: height and width of all maps.
        indices: for each position the number of its image.
        labels: None, since an image has concepts and no class.

    Raises:
        FileNotFoundError: there is no such set; says how to get one.
        BrodenError: something is wrong with it; names file, row and column.
        ValueError: ``size`` or ``split`` cannot be had.
    """

    def __init__(self, root: str | Path, *, size: int | None = None, split: str | None = None) -> None:
        self.root = Path(root)
        if size is not None and size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        self.size, self.split = size, split
        self.files = require_set(self.root)
        findings = Findings()
        reader = TableReader(self.files, findings)
        vocabulary = read_vocabulary(reader)
        index = read_index(reader, vocabulary)
        findings.check(unusable(self.root))
        self.categories: tuple[str, ...] = vocabulary.categories
        self.concepts: dict[int, Concept] = vocabulary.concepts
        self.rows: list[Row] = index.rows
        self.label_size: tuple[int, int] = index.label_size
        self.labels, self.classes, self.class_names = None, list[str](), list[str]()
        self._digest = reader.digest.hexdigest()
        self._allowed = np.zeros((len(self.categories), LARGEST + 1), bool)
        self._allowed[:, 0] = True
        for number, names in vocabulary.allowed.items():
            self._allowed[[self.categories.index(name) for name in names], number] = True
        self.indices: list[int] = [i for i, row in enumerate(self.rows) if split in (None, row.split)]
        if not self.indices:
            have = ", ".join(sorted({row.split for row in self.rows}))
            raise ValueError(f"split must be one of {have} (found in {str(self.root)!r}) or None, got {split!r}")
        sizes = {row.size for row in self.rows}
        if size is None and len(sizes) > 1:
            raise ValueError(
                f"size: the images of {str(self.root)!r} have {len(sizes)} sizes and make no batch as they are; "
                "give the side of the network's input, for instance size=224"
            )

    def only(self, items: Sequence[int]) -> Self:
        """Return a data set of some of these images, by their positions here; they keep their numbers."""
        part = copy.copy(self)
        part.indices = [self.indices[item] for item in items]
        return part

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> Batch:
        """Return one sample: uint8 ``[3, size, size]``, label −1, the image's number.

        Raises:
            BrodenError: the file cannot be read; names it.
        """
        number = self.indices[item]
        row = self.rows[number]
        try:
            with open_image(self.source(row.image)) as image:
                pixels = self._resized(to_rgb(image))
        except BadImageError as error:
            raise BrodenError(f"{INDEX}, row {row.line}, column image: {unreadable(row.image, error)}") from error
        return Batch(pixels, torch.tensor(UNLABELLED), torch.tensor(number))

    def _resized(self, image: Image.Image) -> Tensor:
        if self.size is not None and image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()

    def segmentation(self, index: int) -> Segmentation:
        """Return the labels of an image by its number (``Batch.index``), at ``label_size``.

        Raises:
            BrodenError: a map is damaged, has another size, or holds a number that label.csv lacks or gives to other
                categories; names it.
        """
        row, maps, whole = self.rows[index], {}, {}
        for category, cell in enumerate(row.cells):
            if cell:
                numbers, paths = parse_cell(cell)
                if numbers:
                    whole[category] = tuple(numbers)
                if paths:
                    maps[category] = np.stack([self._map(row, category, path) for path in paths])
        return Segmentation(maps, whole)

    def _map(self, row: Row, category: int, path: str) -> Labels:
        where = f"{INDEX}, row {row.line}, column {self.categories[category]}"
        try:
            labels = read_map(self.source(path))
        except BadImageError as error:
            raise BrodenError(f"{where}: {unreadable(path, error)}") from error
        if problem := self.map_problem(labels, category):
            raise BrodenError(f"{where}: 'images/{path}' {problem}")
        return labels

    def map_problem(self, labels: Labels, category: int) -> str | None:
        """Return what is wrong with the size or the numbers of a map of a category, None where nothing is."""
        if labels.shape != self.label_size:
            height, width = self.label_size
            return f"is {labels.shape[0]} x {labels.shape[1]}, expected {height} x {width} (columns sh, sw)"
        allowed = self._allowed[category][labels]
        if allowed.all():
            return None
        wrong = np.unique(labels[~allowed]).tolist()
        unknown = [number for number in wrong if number not in self.concepts]
        what = "that are not in label.csv" if unknown else f"that are no {self.categories[category]} by label.csv"
        return f"holds numbers {what}: {', '.join(map(str, (unknown or wrong)[:5]))}"

    def path_of(self, index: int) -> str:
        """Return the path, relative to ``images/``, of an image by its number (``Batch.index``)."""
        return self.rows[index].image

    def file(self, path: str) -> str:
        """Return where a file of the index lies; within a tar file it lies below the file's path."""
        return os.path.join(self.root, "images", path)

    def source(self, path: str) -> str | io.BytesIO:
        """Return what opens a file of the index.

        Raises:
            BadImageError: it cannot be had any more.
        """
        try:
            return self.files.open(path)
        except OSError as error:
            raise BadImageError(f"cannot read {path!r}: {error}") from error

    @property
    def fingerprint(self) -> str:
        """Short hash of the set and of the choice of images.

        It covers the bytes of all tables, path and size in bytes of every image and map, and which images are used;
        not the pixels themselves, and not ``size``.
        """
        if len(self.indices) == len(self.rows):
            return self._digest[:16]
        chosen = np.array(self.indices, np.int64).tobytes()
        return hashlib.sha256(self._digest.encode() + chosen).hexdigest()[:16]

    @property
    def stamp(self) -> str:
        """Short hash that changes whenever an image or a map of these is written again; looks at every file."""
        rows = [self.rows[number] for number in self.indices]
        paths = [
            path
            for row in rows
            for path in (row.image, *(map_path for *_, map_path in map_places(row, self.categories)))
        ]
        return self.files.stamp(paths)


def require_set(root: Path) -> SetFiles:
    """Return the files of a set; raise an error that says how to get one, where there is none.

    Raises:
        FileNotFoundError: no folder and no tar file, or no index.csv in it.
        BrodenError: a tar file is compressed, damaged, or holds no set.
    """
    if root.is_file():
        try:
            files = set_files(root)
        except ValueError as error:
            raise BrodenError(str(error)) from None
        if isinstance(files, TarFiles):
            return files
    if not root.is_dir():
        shown = "a file" if root.exists() else "nothing"
        raise FileNotFoundError(
            f"expected the folder of a set in Broden's format, found {shown} at {str(root)!r}. {HELP}"
        )
    if not (root / INDEX).exists():
        below = sorted(path.parent.name for path in root.glob(f"*/{INDEX}"))
        hint = f" Did you mean {str(root / below[0])!r}?" if below else ""
        raise FileNotFoundError(f"no {INDEX} in {str(root)!r}, which every set in Broden's format has.{hint} {HELP}")
    return FolderFiles(root)
