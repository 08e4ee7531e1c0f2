"""Image sets of any form: folders of files, tar shards of WebDataset, tables of Hugging Face ``datasets``."""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from lightning_advinterp.data.columns import ALONE, SampleColumns
from lightning_advinterp.data.listing import EXTENSIONS, shorten
from lightning_advinterp.data.scan import ALL, Split, scan_folder
from lightning_advinterp.data.split_names import one_each, split_inside, split_of

Value = TypeVar("Value")

SHARDS = frozenset({".tar"})
TABLES = frozenset({".parquet", ".arrow"})
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk writes
_COUNTER = re.compile(r"[-_.]?\d+(?:-of-\d+)?$")
_MAGIC = re.compile(r"[*?\[{]")


def scan_images(root: str | Path, columns: SampleColumns = ALONE, *, split: str | None = None) -> dict[str, Split]:
    """Find all images of a set, whatever its form.

    ``root`` is a folder of images (see :mod:`~lightning_advinterp.data.scan`); a tar file, a pattern of tar files
    (``shards/train-{000000..000009}.tar``, ``shards/*.tar``) or a folder of them; a parquet or arrow file, a pattern or
    a folder of them, or what ``save_to_disk`` wrote. Which split an archive belongs to is said by its folder
    (``train/``, ``val/``) or its name (``train-00000-of-00002.parquet``); one whose name says none of the usual splits
    is a split of that name where there are several, else the whole set, ``all``.

    Args:
        root: a path or a pattern.
        columns: which parts of samples are image and label, where several may be meant.
        split: read no other split, where archives have this one.

    Raises:
        FileNotFoundError: nothing is there, or no image.
        ValueError: naming what is wrong with the set; or the library of such archives is not installed.
    """
    root = Path(root)
    if any(str(root).endswith(ending) for ending in _PACKED):
        raise ValueError(f"{str(root)!r} is compressed, which allows no reading in any order; decompress it to .tar")
    if any((root / name).is_file() for name in _SAVED):
        _require("datasets", root)
        from lightning_advinterp.data.tables import read_saved, table_splits

        saved = read_saved(root)
        names = {name: split_of(name) or name for name in saved}
        return table_splits(_chosen({names[name]: table for name, table in saved.items()}, split), root, columns)
    for endings, reader in ((SHARDS, _shards), (TABLES, _tables)):
        if files := _archives(root, endings):
            _require("webdataset" if endings is SHARDS else "datasets", root)
            return reader(_chosen(_by_split(files, root), split), _base(root, files), columns)
    return scan_folder(root)


def _shards(files: Mapping[str, Sequence[Path]], base: Path, columns: SampleColumns) -> dict[str, Split]:
    from lightning_advinterp.data.shards import read_shards

    return read_shards(files, base, columns)


def _tables(files: Mapping[str, Sequence[Path]], base: Path, columns: SampleColumns) -> dict[str, Split]:
    from lightning_advinterp.data.tables import read_files, table_splits

    return table_splits(read_files(files), base, columns)


def _chosen(values: dict[str, Value], split: str | None) -> dict[str, Value]:
    """Return one split alone, where there is such a one."""
    return {split: values[split]} if split is not None and split in values else values


def _archives(root: Path, endings: frozenset[str]) -> list[Path]:
    """Return the archives that a path or pattern names, in order; none where it names something else.

    A folder that holds images or class folders too is a folder of images.
    """
    if root.is_file():
        return [root] if root.suffix in endings else []
    if _MAGIC.search(str(root)) and root.suffix in endings and not root.exists():
        return _expanded(root, endings)
    if not root.is_dir():
        return []
    entries = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    folders = [path for path in entries if path.is_dir()]
    parts = [path for path in folders if split_of(path.name) or path.name == "data"]
    if len(parts) < len(folders) or any(path.suffix.lower() in EXTENSIONS for path in entries if not path.is_dir()):
        return []
    archives = [path for path in entries if path.suffix in endings]
    for part in parts:
        archives += sorted(path for path in part.iterdir() if path.suffix in endings)
    return archives


def _expanded(root: Path, endings: frozenset[str]) -> list[Path]:
    """Expand braces as webdataset does, then wildcards.

    Raises:
        FileNotFoundError: if a name that braces stand for, or all that a wildcard stands for, are missing.
    """
    names = [str(root)]
    if "{" in str(root):
        _require("webdataset", root)
        from webdataset.shardlists import expand_urls

        names = list(expand_urls(str(root)))
    paths: list[Path] = []
    missing: list[str] = []
    for name in names:
        matches = sorted(glob.glob(name)) if glob.has_magic(name) else [name] * Path(name).is_file()
        paths += [Path(match) for match in matches]
        missing += [] if matches else [name]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(names)} files of {str(root)!r} are not there: {shorten(missing)}"
        )
    return [path for path in paths if path.suffix in endings]


def _by_split(files: Sequence[Path], root: Path) -> dict[str, Sequence[Path]]:
    """Sort archives by split; two kinds of names for one split are refused."""
    prefixes: dict[str, list[Path]] = {}
    for path in files:
        prefix = path.parent.name if split_of(path.parent.name) else _COUNTER.sub("", path.stem)
        prefixes.setdefault(prefix, []).append(path)
    splits = {prefix: split_of(prefix) or split_inside(prefix) for prefix in prefixes}
    named = {prefix: split for prefix, split in splits.items() if split is not None}
    if not named:
        return {ALL: list(files)}
    by_split: dict[str, Sequence[Path]] = {
        split: prefixes[prefix] for split, prefix in one_each(named, repr(str(root))).items()
    }
    return by_split | {prefix or ALL: prefixes[prefix] for prefix, split in splits.items() if split is None}


def _base(root: Path, files: Sequence[Path]) -> Path:
    """Return the folder that images' paths are relative to."""
    if root.is_dir():
        return root
    folders = {path.parent for path in files}
    return folders.pop() if len(folders) == 1 else Path(os.path.commonpath(sorted(map(str, folders))))


_EXTRAS: dict[str, str] = {"webdataset": "tar shards", "datasets": "a set of Hugging Face datasets"}


def _require(library: str, root: Path) -> None:
    if find_spec(library) is None:
        raise ValueError(
            f"{str(root)!r} is {_EXTRAS[library]}, which the library {library!r} reads; install it: "
            'pip install "lightning-advinterp[data]"'
        )
