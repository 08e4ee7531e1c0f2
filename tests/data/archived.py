"""The images of a folder once more: in tar shards, and in tables."""

import io
import tarfile
from pathlib import Path

import datasets


def images_of(split: Path) -> list[tuple[int, Path]]:
    """Return labels and files by class, then name, as folders are read."""
    classes = sorted(path for path in split.iterdir() if path.is_dir())
    return [(label, path) for label, folder in enumerate(classes) for path in sorted(folder.iterdir())]


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_shards(folder: Path, output: Path, per_shard: int = 4) -> Path:
    """Write every split's images as ``SPLIT-00000.tar``, …, each with ``cls``."""
    output.mkdir()
    for split in sorted(folder.iterdir()):
        images = images_of(split)
        for shard in range(0, len(images), per_shard):
            with tarfile.open(output / f"{split.name}-{shard // per_shard:05d}.tar", "w") as tar:
                for number, (label, path) in enumerate(images[shard : shard + per_shard], start=shard):
                    add(tar, f"{number:05d}{path.suffix}", path.read_bytes())
                    add(tar, f"{number:05d}.cls", str(label).encode())
    names = sorted(path.name for path in split.iterdir())
    (output / "classes.txt").write_text("\n".join(names) + "\n")
    return output


def tables(folder: Path) -> datasets.DatasetDict:
    """Return the same as tables of Hugging Face, with names of classes."""
    splits = {}
    for split in sorted(folder.iterdir()):
        images = images_of(split)
        names = sorted(path.name for path in split.iterdir())
        features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=names))
        rows = {
            "image": [{"bytes": path.read_bytes(), "path": path.name} for _, path in images],
            "label": [label for label, _ in images],
        }
        splits["validation" if split.name == "val" else split.name] = datasets.Dataset.from_dict(rows, features)
    return datasets.DatasetDict(splits)
