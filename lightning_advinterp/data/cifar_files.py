"""Read CIFAR-10 from disk: torchvision's pickled batches, or a folder of JPEG files."""

import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_advinterp.data.decode import BadImageError, open_image, to_rgb
from lightning_advinterp.data.scan import Split, scan_folder, shorten

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WNIDS = (
    "n02691156",  # airplane
    "n02958343",  # car, auto, automobile
    "n01503061",  # bird
    "n02121620",  # cat (house cats and wildcats; the house cat alone is n02121808)
    "n02430045",  # deer
    "n02084071",  # dog
    "n01639765",  # frog
    "n02374451",  # horse
    "n04194289",  # ship
    "n04490091",  # truck
)
"""The first noun sense of each class name in WordNet 3.0, in label order."""

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
        found = shorten(sorted(p.name for p in root.iterdir())) if root.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"root must hold {PICKLE_FOLDER}/ or train/<class>/*.jpg and test/<class>/*.jpg, found {found} "
            f"at {str(root)!r}; set download=true to fetch CIFAR-10"
        )
    splits = scan_folder(root)
    missing = [split for split in _BATCHES if split not in splits]
    if missing:
        raise FileNotFoundError(f"{str(root)!r} lacks the folder {missing[0]}/, found {sorted(splits)}")
    return {name: _read_folder(root, splits[name]) for name in _BATCHES}


def _read_folder(root: Path, split: Split) -> CIFARImages:
    if tuple(split.classes) != CLASS_NAMES:
        raise ValueError(
            f"the class folders of {str(root / split.name)!r} must be CIFAR-10's ({shorten(CLASS_NAMES)}), "
            f"found {shorten(split.classes)}; use ImageFolderDataModule for other data"
        )
    images = np.empty((len(split.paths), _SIDE, _SIDE, 3), dtype=np.uint8)
    for place, path in enumerate(split.paths):
        images[place] = np.asarray(_pixels(root / path))
    return CIFARImages(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), split.positions)


def _pixels(path: Path) -> Image.Image:
    with open_image(path) as opened:
        image = to_rgb(opened)
    if image.size != (_SIDE, _SIDE):
        raise BadImageError(f"CIFAR-10 images are 32x32 pixels, got {image.size} in {str(path)!r}")
    return image


def _read_batches(folder: Path, names: list[str]) -> CIFARImages:
    images, labels = [], []
    for name in names:
        batch = _load_batch(folder / name)
        images.append(torch.from_numpy(np.ascontiguousarray(batch["data"])).view(-1, 3, _SIDE, _SIDE))
        labels += [int(label) for label in batch["labels"]]
    return CIFARImages(torch.cat(images), labels)


def _load_batch(path: Path) -> dict[str, Any]:
    try:
        batch = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        data, labels = batch["data"], batch["labels"]
        if data.dtype != np.uint8 or data.shape != (len(labels), 3 * _SIDE**2):
            raise ValueError(f"expected uint8 [N, 3072] and N labels, got {data.dtype} {list(data.shape)}")
        if not all(0 <= label < len(CLASS_NAMES) for label in labels):
            raise ValueError("expected labels from 0 to 9")
    except (
        pickle.UnpicklingError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        OSError,
    ) as error:
        raise ValueError(f"cannot read the CIFAR-10 batch {str(path)!r}: {error}; fetch it again") from error
    return {"data": data, "labels": labels}


class _ArrayUnpickler(pickle.Unpickler):
    """Read dictionaries, lists, strings and NumPy arrays; refuse everything that could run code."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"the file wants to load {module}.{name}, which no CIFAR-10 batch does")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
