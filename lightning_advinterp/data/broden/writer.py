"""Write a set in Broden's format, image by image; it appears once it is complete."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_advinterp.core.files import whole_folder
from lightning_advinterp.core.names import printable
from lightning_advinterp.data.broden.check import check_set
from lightning_advinterp.data.broden.files import INDEX
from lightning_advinterp.data.broden.findings import BrodenError
from lightning_advinterp.data.broden.index import SPLITS, path_problem
from lightning_advinterp.data.broden.maps import map_image
from lightning_advinterp.data.broden.vocabulary import LARGEST
from lightning_advinterp.data.decode import open_image

_JPEG_QUALITY = 95


class Label(NamedTuple):
    """What a label number means.

    Attributes:
        number: from 1 to 65,535; numbers need not be contiguous.
        name: colour names end in ``-c``, scene names in ``-s`` by custom.
        categories: those in which it may occur.
    """

    number: int
    name: str
    categories: tuple[str, ...]


class BrodenWriter:
    """A context manager that writes a set; nothing is left behind if its block raises, or if ``check`` refuses the set.

    Only names and counts are kept in memory. Maps without any label are left out, as Broden leaves them out.

    Args:
        root: folder to make; it must not exist or be empty.
        categories: names, in the order of the columns.
        labels: all labels that may occur.
        label_size: height and width of all maps.

    Raises:
        ValueError: the labels do not fit together.
        FileExistsError: ``root`` holds something.

    Example:
        >>> import tempfile
        >>> from lightning_advinterp.data.broden import BrodenDataset
        >>> root = Path(tempfile.mkdtemp()) / "tiny"
        >>> with BrodenWriter(root, ["object"], [Label(300, "car", ("object",))], (2, 2)) as writer:
        ...     writer.add("a.png", np.zeros((4, 4, 3), np.uint8), {"object": np.array([[0, 300], [300, 300]])})
        >>> BrodenDataset(root).segmentation(0).maps[0].tolist()
        [[[0, 300], [300, 300]]]
    """

    def __init__(
        self, root: str | Path, categories: Sequence[str], labels: Iterable[Label], label_size: tuple[int, int]
    ) -> None:
        self.root, self.categories, self.label_size = Path(root), tuple(categories), label_size
        self.labels: dict[int, Label] = {}
        for label in labels:
            _check_label(label, self.categories, self.labels)
            self.labels[label.number] = label
        self._images: Counter[tuple[str, int]] = Counter()
        self._pixels: dict[tuple[str, int], float] = defaultdict(float)
        self._written: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = stack.enter_context(whole_folder(self.root))
            (self._folder / "images").mkdir()
            file = stack.enter_context((self._folder / INDEX).open("w", newline="", encoding="utf-8"))
            self._file, self._index = file, csv.writer(file, lineterminator="\n")
            self._index.writerow(["image", "split", "ih", "iw", "sh", "sw", *self.categories])
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._write_tables()
                self._check()
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)

    def _check(self) -> None:
        """Decode all that was written, as ``check`` does: what it refuses never becomes a finished folder.

        Raises:
            BrodenError: naming what is wrong; the folder is removed.
        """
        self._file.flush()
        try:
            check_set(self._folder)
        except BrodenError as error:
            text = str(error).replace(str(self._folder), str(self.root))
            raise BrodenError(text, error.findings, error.count) from None

    def add(
        self,
        path: str,
        image: NDArray[np.uint8] | Image.Image | Path,
        maps: Mapping[str, NDArray[np.integer[Any]]] | None = None,
        whole: Mapping[str, Sequence[int]] | None = None,
        *,
        split: str = "train",
    ) -> None:
        """Write one image with its labels.

        Args:
            path: of the image below ``images/``, with / between its parts; its ending chooses the file format.
            image: uint8 ``[H, W, 3]`` or a PIL image, which are encoded (JPEG at quality 95), or a file with the same
                ending, which is copied.
            maps: category to label numbers ``[Hs, Ws]`` or ``[L, Hs, Ws]``, dominant layer first; 0 = none.
            whole: category to numbers of labels that hold for the whole image, dominant first.
            split: ``train``, ``val`` or ``test``.

        Raises:
            ValueError: naming the image and what does not fit.
        """
        if problem := path_problem(path) or _unwritable(path):
            raise ValueError(f"path: {problem}")
        if split not in SPLITS:
            raise ValueError(f"split of {path!r} must be one of {', '.join(SPLITS)}, got {split!r}")
        layers = {name: self._layers(path, name, numbers) for name, numbers in (maps or {}).items()}
        numbers = {name: self._whole(path, name, labels) for name, labels in (whole or {}).items()}
        height, width = self._write_image(path, image)
        cells = []
        for category in self.categories:
            values = [str(number) for number in numbers.get(category, ())]
            values += self._write_maps(path, category, layers.get(category, []))
            cells.append(";".join(values))
            self._count(category, layers.get(category, []), numbers.get(category, ()))
        self._index.writerow([path, split, height, width, *self.label_size, *cells])

    def _layers(self, path: str, category: str, numbers: NDArray[np.integer[Any]]) -> list[NDArray[np.integer[Any]]]:
        layers = [*numbers] if numbers.ndim == 3 else [numbers]
        for layer in layers:
            if layer.shape != self.label_size or layer.dtype.kind not in "iu":
                raise ValueError(
                    f"maps[{category!r}] of {path!r} must be integers [L, Hs, Ws] or [Hs, Ws] with Hs, Ws = "
                    f"{self.label_size}, got {layer.dtype} {numbers.shape}"
                )
            self._check_numbers(f"maps[{category!r}] of {path!r}", category, np.unique(layer).tolist())
        return [layer for layer in layers if layer.any()]

    def _whole(self, path: str, category: str, numbers: Sequence[int]) -> list[int]:
        where = f"whole[{category!r}] of {path!r}"
        if len(set(numbers)) < len(numbers) or 0 in numbers:
            raise ValueError(f"{where} must be different numbers other than 0, got {list(numbers)}")
        self._check_numbers(where, category, numbers)
        return [int(number) for number in numbers]

    def _check_numbers(self, where: str, category: str, numbers: Sequence[int]) -> None:
        if category not in self.categories:
            raise ValueError(f"{where}: the categories are {', '.join(self.categories)}")
        for number in numbers:
            if number and (number not in self.labels or category not in self.labels[number].categories):
                raise ValueError(f"{where}: {number} is not the number of a label of this category")

    def _claim(self, path: str) -> Path:
        if path in self._written:
            raise ValueError(f"path: 'images/{path}' has been written already; give each image a name of its own")
        self._written.add(path)
        file = self._folder / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _write_image(self, path: str, image: NDArray[np.uint8] | Image.Image | Path) -> tuple[int, int]:
        file = self._claim(path)
        if isinstance(image, Path):
            with open_image(image) as opened:
                width, height = opened.size
            file.write_bytes(image.read_bytes())
            return height, width
        if not isinstance(image, Image.Image):
            image = Image.fromarray(image)
        if file.suffix.lower() in (".jpg", ".jpeg"):
            image.save(file, quality=_JPEG_QUALITY)
        else:
            image.save(file)
        return image.height, image.width

    def _write_maps(self, path: str, category: str, layers: list[NDArray[np.integer[Any]]]) -> list[str]:
        stem, names = path.rpartition(".")[0] or path, []
        for k, layer in enumerate(layers, start=1):
            name = f"{stem}_{category}_{k}.png" if len(layers) > 1 else f"{stem}_{category}.png"
            map_image(layer).save(self._claim(name))
            names.append(name)
        return names

    def _count(self, category: str, layers: list[NDArray[np.integer[Any]]], whole: Sequence[int]) -> None:
        """Count images and pixels of each label, the latter in images."""
        shares: dict[int, float] = defaultdict(float)
        for layer in layers:
            for number, pixels in zip(*np.unique(layer, return_counts=True), strict=True):
                shares[int(number)] += float(pixels) / layer.size
        for number in whole:
            shares[number] += 1.0
        for number, share in shares.items():
            if number:
                self._images[category, number] += 1
                self._pixels[category, number] += share

    def _write_tables(self) -> None:
        of = {name: [label for label in self.labels.values() if name in label.categories] for name in self.categories}
        rows: list[list[Any]] = []
        for name, labels in of.items():
            numbers = [label.number for label in labels] or [0]
            images = sum(self._images[name, label.number] for label in labels)
            rows.append([name, min(numbers), max(numbers), len(labels), images])
        self._write("category.csv", ["name", "first", "last", "count", "frequency"], rows)
        rows = []
        for number, label in sorted(self.labels.items()):
            names = sorted(label.categories, key=lambda name: -self._images[name, number])
            mentions = ";".join(f"{name}({self._images[name, number]})" for name in names)
            images = sum(self._images[name, number] for name in names)
            rows.append(
                [number, label.name, mentions, images, f"{sum(self._pixels[name, number] for name in names):.6f}", ""]
            )
        self._write("label.csv", ["number", "name", "category", "frequency", "coverage", "syns"], rows)
        for name, labels in of.items():
            labels.sort(key=lambda label: (-self._images[name, label.number], label.number))
            rows = [
                [code, number, text, self._images[name, number], f"{self._pixels[name, number]:.6f}"]
                for code, (number, text, _) in enumerate(labels, start=1)
            ]
            self._write(f"c_{name}.csv", ["code", "number", "name", "frequency", "coverage"], rows)

    def _write(self, name: str, header: list[str], rows: list[list[Any]]) -> None:
        with (self._folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _unwritable(path: str) -> str | None:
    """Return what keeps a path out of a cell of index.csv, None where nothing does."""
    if printable(path, keep="") != path:
        return f"{path!r} holds control characters, or bytes that are no UTF-8, as the tables are; rename the file"
    if ";" in path:
        return f"{path!r} holds a ';', which separates the maps in a cell; rename the file"
    return None


def _check_label(label: Label, categories: tuple[str, ...], earlier: Mapping[int, Label]) -> None:
    if not 1 <= label.number <= LARGEST:
        raise ValueError(f"labels: numbers must be from 1 to {LARGEST}, got {label.number} ({label.name!r})")
    if label.number in earlier:
        raise ValueError(f"labels: {label.number} is both {earlier[label.number].name!r} and {label.name!r}")
    if not label.name or not label.categories or not set(label.categories) <= set(categories):
        raise ValueError(
            f"labels: {label.number} needs a name and categories among {', '.join(categories)}, got {label.name!r} and "
            f"{label.categories}"
        )
    for earlier_label in earlier.values():
        if earlier_label.name == label.name and (shared := set(earlier_label.categories) & set(label.categories)):
            raise ValueError(
                f"labels: {earlier_label.number} and {label.number} are both {label.name!r} in {min(shared)!r}"
            )
