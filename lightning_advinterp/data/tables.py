"""Images of Hugging Face ``datasets``: parquet and arrow files, and folders that ``save_to_disk`` wrote."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from lightning_advinterp.core.files import stamp_of
from lightning_advinterp.core.names import readable
from lightning_advinterp.data.columns import SampleColumns
from lightning_advinterp.data.decode import open_image
from lightning_advinterp.data.listing import shorten
from lightning_advinterp.data.scan import ALL, UNLABELLED, Split
from lightning_advinterp.data.stated_labels import StatedClasses, StatedLabel
from lightning_advinterp.data.stores import open_bytes

_IMAGE_NAMES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp")
_LABEL_NAMES = ("label", "labels", "class", "cls", "target", "category")


class TableStore:
    """Rows of a table, which stays on disk.

    Args:
        table: the set; its images are not decoded.
        column: the images.
        name: of the split.
    """

    digest = ""

    def __init__(self, table: datasets.Dataset, column: str, name: str) -> None:
        if isinstance(table.features[column], datasets.Image):
            table = table.cast_column(column, datasets.Image(decode=False))
        self._rows, self.column, self.name = table.select_columns([column]), column, name

    @contextmanager
    def open(self, number: int) -> Iterator[Image.Image]:
        """See :class:`~lightning_advinterp.data.stores.ImageStore`."""
        value: Any = self._rows[number][self.column]
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (value, None)
        if content is None and path is not None:
            with open_image(path) as image:
                yield image
        else:
            with open_bytes(content or b"", row_name(self.name, number)) as image:
                yield image

    def stamp(self, numbers: Sequence[int]) -> str:
        """See :class:`~lightning_advinterp.data.stores.ImageStore`; looks at the files that hold the table."""
        return stamp_of(file["filename"] for file in self._rows.cache_files)


def row_name(split: str, number: int) -> str:
    """Return what an image is called: rows have no names of their own that would tell all of them apart."""
    return f"{split}/row_{number:07d}"


def read_saved(folder: Path) -> dict[str, datasets.Dataset]:
    """Open what ``save_to_disk`` wrote: each split by its name, a table without splits as ``all``."""
    saved = datasets.load_from_disk(str(folder))
    if isinstance(saved, datasets.Dataset):
        return {ALL: saved}
    return {str(name): table for name, table in saved.items()}


def read_files(files: Mapping[str, Sequence[Path]]) -> dict[str, datasets.Dataset]:
    """Open parquet or arrow files by split; the library keeps parquet as arrow in its cache, which is mapped.

    Raises:
        ValueError: if a file is none of these, or the files of a split have different columns.
    """
    tables = {}
    for split, paths in files.items():
        names = [str(path) for path in paths]
        kind = "parquet" if paths[0].suffix == ".parquet" else "arrow"
        try:
            if kind == "parquet":
                table = datasets.Dataset.from_parquet(names)
            else:
                table = datasets.concatenate_datasets([datasets.Dataset.from_file(name) for name in names])
        except Exception as error:  # pyarrow's errors and those of the library have no common kind
            cause = error.__cause__ or error
            raise ValueError(f"{shorten(names)} cannot be read as {kind}: {cause}; write it anew") from error
        tables[split] = table
    return tables


def table_splits(tables: Mapping[str, datasets.Dataset], root: Path, columns: SampleColumns) -> dict[str, Split]:
    """Return the images of tables, with their labels.

    The image is the column of the library's kind ``Image``, or the one with a usual name; the label is the column of
    its kind ``ClassLabel``, whose names become the classes in their order, or the one with a usual name, which holds
    numbers or names. An image's number is its row.

    Args:
        tables: by split.
        root: for messages.
        columns: the columns, where several may be meant.

    Raises:
        FileNotFoundError: a split has no row.
        ValueError: naming the columns, if none or several may be meant.
    """
    stated: dict[str, Sequence[StatedLabel]] = {}
    stores: dict[str, TableStore] = {}
    names: list[str] | None = None
    for split, table in tables.items():
        if not len(table):
            raise FileNotFoundError(f"no image in the split {split!r} of {str(root)!r}: its table has no row")
        image = _column(table, columns.image, "image", datasets.Image, _IMAGE_NAMES, root)
        if image is None:
            raise ValueError(
                f"{str(root)!r}: no column of {shorten(table.column_names)} holds images; name it as image_column"
            )
        label = _column(table, columns.label, "label", datasets.ClassLabel, _LABEL_NAMES, root)
        stores[split] = TableStore(table, image, split)
        stated[split] = [None] * len(table) if label is None else _labels(table, label, root)
        if label is not None and isinstance(table.features[label], datasets.ClassLabel):
            names = list(table.features[label].names)
    classes = StatedClasses.of(stated, names)
    splits = {}
    for split, store in stores.items():
        positions = classes.positions(stated[split], f"{str(root)!r}, split {split!r}")
        paths = [row_name(split, number) for number in range(len(positions))]
        labelled = [readable(name) for name in classes.names] if positions[0] != UNLABELLED else []
        splits[split] = Split(split, paths, positions, labelled, numbered=classes.numbered, store=store)
    return splits


def _column(
    table: datasets.Dataset, named: str | None, what: str, kind: type, usual: Sequence[str], root: Path
) -> str | None:
    """Return the column that is meant, None where there is none."""
    if named is not None:
        if named not in table.column_names:
            raise ValueError(
                f"{what}_column: {str(root)!r} has the columns {shorten(table.column_names)}, no {named!r}"
            )
        return named
    of_kind = [name for name, feature in table.features.items() if isinstance(feature, kind)]
    if len(of_kind) > 1:
        raise ValueError(
            f"{str(root)!r} has {len(of_kind)} columns that may be the {what} ({shorten(of_kind)}); name it as "
            f"{what}_column"
        )
    return of_kind[0] if of_kind else next((name for name in usual if name in table.column_names), None)


def _labels(table: datasets.Dataset, column: str, root: Path) -> list[StatedLabel]:
    values = table.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    wrong = next((value for value in values if value is not None and not isinstance(value, int | str)), None)
    if wrong is not None:
        raise ValueError(
            f"{str(root)!r}: column {column!r} must hold numbers or names of classes, got {type(wrong).__name__} "
            f"({wrong!r:.60}); name the label's column as label_column"
        )
    return [int(value) if isinstance(value, bool) else value for value in values]
