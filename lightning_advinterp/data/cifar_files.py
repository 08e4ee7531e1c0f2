"""Read CIFAR-10 from disk: torchvision's pickled batches, or a folder of JPEG files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_advinterp.data.cifar_classes import CLASS_NAMES
from lightning_advinterp.data.cifar_pickles import read_batch
from lightning_advinterp.data.class_labels import cifar10_outputs, map_labels
from lightning_advinterp.data.decode import BadImageError, open_image, to_rgb
from lightning_advinterp.data.scan import Split, scan_folder, shorten

PICKLE_FOLDER = "cifar-10-batches-py"
_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_SIDE = 32


class CIFARImages(NamedTuple):
    """All images of a split in memory: uint8 ``[N, 3, 32, 32]``, and their labels."""

    images: Tensor
    labels: list[int]


def read_cifar10(root: str | Path) -> dict[str, CIFARImages]:
    """Read the splits ``train`` and ``test``.

    Args:
        root: a folder that holds ``cifar-10-batches-py``, or ``{train,test}/<class>/*.jpg``.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: a file is damaged, or the folders are not CIFAR-10's classes.
    """
    root = Path(root)
    if (root / PICKLE_FOLDER).is_dir():
        return {split: _read_batches(root / PICKLE_FOLDER, names) for split, names in _BATCHES.items()}
    if not root.is_dir() or not any((root / split).is_dir() for split in _BATCHES):
        shown = shorten(sorted(p.name for p in root.iterdir())) if root.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"root must hold {PICKLE_FOLDER}/ or train/<class>/*.jpg and test/<class>/*.jpg, found {shown} "
            f"at {str(root)!r}; set download=true to fetch CIFAR-10"
        )
    splits = scan_folder(root)
    missing = [split for split in _BATCHES if split not in splits]
    if missing:
        raise FileNotFoundError(f"{str(root)!r} lacks the folder {missing[0]}/, found {sorted(splits)}")
    return {name: _read_folder(root, splits[name]) for name in _BATCHES}


def _read_folder(root: Path, split: Split) -> CIFARImages:
    try:
        places = map_labels(split.classes, len(CLASS_NAMES), cifar10_outputs()).labels
    except ValueError:
        places = []
    if sorted(places) != list(range(len(CLASS_NAMES))):
        raise ValueError(
            f"the class folders of {str(root / split.name)!r} must be CIFAR-10's ({shorten(CLASS_NAMES)}), "
            f"found {shorten(split.classes)}; use ImageFolderDataModule for other data"
        )
    images = np.empty((len(split.paths), _SIDE, _SIDE, 3), dtype=np.uint8)
    for place, path in enumerate(split.paths):
        images[place] = np.asarray(_pixels(root / path))
    labels = [places[position] for position in split.positions]
    return CIFARImages(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)


def _pixels(path: Path) -> Image.Image:
    with open_image(path) as opened:
        image = to_rgb(opened)
    if image.size != (_SIDE, _SIDE):
        raise BadImageError(f"CIFAR-10 images are 32x32 pixels, got {image.size} in {str(path)!r}")
    return image


def _read_batches(folder: Path, names: list[str]) -> CIFARImages:
    images: list[Tensor] = []
    labels: list[int] = []
    for name in names:
        pixels, more = read_batch(folder / name, len(CLASS_NAMES), 3 * _SIDE**2)
        images.append(torch.from_numpy(pixels.copy()).view(-1, 3, _SIDE, _SIDE))
        labels += more
    return CIFARImages(torch.cat(images), labels)
