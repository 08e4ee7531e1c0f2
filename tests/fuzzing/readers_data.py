"""Readers of images and of what is said about them: folders, CIFAR-10, Broden, sets of adversarial images."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from broden_sets import write_set
from pictures import picture
from PIL import Image

from fuzzing.reader import Reader
from lightning_advinterp.data.adversarial_set import AdversarialRow, AdversarialSet, AdversarialSetWriter, Manifest
from lightning_advinterp.data.broden import BrodenDataset, build_set, check_set
from lightning_advinterp.data.cifar_files import PICKLE_FOLDER, read_cifar10
from lightning_advinterp.data.image_folder import ImageFolderDataset, image_tensor

_ENDINGS = ("png", "jpg", "bmp", "webp", "ppm")


def _images(folder: Path) -> None:
    for split in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for ending in _ENDINGS[:2]:
                picture(number, (20, 16)).save(folder / split / name / f"{number}.{ending}")


def _dataset(folder: Path) -> Any:
    from lightning_advinterp.data.transforms import EvalTransform

    data = ImageFolderDataset.from_folder(folder, "val", transform=EvalTransform(16, 16))
    return data.paths, data.labels, data.classes, [batch.image for batch in data.readable(range(len(data)))]


def _single(folder: Path) -> None:
    for ending in _ENDINGS:
        picture(3, (20, 16)).save(folder / f"single.{ending}")


def _tensor(folder: Path) -> Any:
    return [image_tensor(folder / f"single.{ending}", 16, 16) for ending in _ENDINGS]


def _cifar(folder: Path) -> None:
    (folder / PICKLE_FOLDER).mkdir()
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        batch = {"data": rng.integers(0, 256, (4, 3072)).astype(np.uint8), "labels": [0, 3, 9, 1], "batch_label": "x"}
        (folder / PICKLE_FOLDER / name).write_bytes(pickle.dumps(batch, protocol=2))


def _cifar_value(folder: Path) -> Any:
    return {name: (split.images, split.labels) for name, split in read_cifar10(folder).items()}


def _cifar_sane(value: Any) -> bool:
    return all(
        images.dtype == torch.uint8 and len(images) == len(labels) and all(type(label) is int for label in labels)
        for images, labels in value.values()
    )


def _broden(check: Any) -> Any:
    def read(folder: Path) -> Any:
        data = check(folder)
        maps = [data.segmentation(number) for number in data.indices]
        return data.categories, data.rows, data.concepts, maps, [data[item].image for item in range(len(data))]

    return read


def _broden_sane(value: Any) -> bool:
    return all(numbers.min() >= 0 for segmentation in value[3] for numbers in segmentation.maps.values())


RECIPE = """\
images: photos
label_size: 8
val_share: 0.5
categories:
  object: {masks: masks/object, labels: {1: car, 2: house, 255: null}}
  scene: {whole: scenes.csv}
"""


def _recipe(folder: Path) -> None:
    (folder / "photos").mkdir()
    (folder / "masks/object").mkdir(parents=True)
    for number, name in enumerate(("1.jpg", "2.png", "3.bmp")):
        picture(number, (16, 16)).save(folder / "photos" / name)
    values = np.random.default_rng(0).integers(0, 3, (16, 16)).astype(np.uint8)
    for number in (1, 2):
        Image.fromarray(values).save(folder / f"masks/object/{number}.png")
    (folder / "scenes.csv").write_text("image,labels\n1.jpg,street-s;night-s\n3.bmp,street-s\n")
    (folder / "recipe.yaml").write_text(RECIPE)


def _built(folder: Path) -> Any:
    """What was built; it must pass the thorough check, and nothing may be left where building fails."""
    root = folder / "built"
    try:
        build_set(folder / "recipe.yaml", root)
    except Exception as error:
        if root.exists():
            raise AssertionError("a set that cannot be built was left behind") from error
        raise
    try:
        return _broden(check_set)(root)
    except ValueError as error:
        raise AssertionError(f"a set that was built is refused by check: {error}") from error


_MANIFEST = Manifest("fgsm", 0, {"weights_sha256": "0" * 64}, "abc", 5, 2, (3, 6, 6))


def _set(folder: Path) -> None:
    writer = AdversarialSetWriter(folder, _MANIFEST)
    images = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for part in range(3):
        items = list(_MANIFEST.items_of(part))
        rows = [AdversarialRow(item, item, item % 3, 1, 1, True, 0.03, 0.5) for item in items]
        writer.write(part, images[items], rows)


def _set_value(folder: Path) -> Any:
    """All that a user takes from a set that says of itself that it is whole."""
    data = AdversarialSet(folder)
    wrong = [*data.verify(), *map(str, data.missing())]
    if wrong:
        raise ValueError(f"{folder}: {', '.join(wrong)} is not what was written")
    return data.rows, [data[place] for place in range(len(data))], data.manifest


def _set_goes_on(folder: Path) -> Any:
    """What is still missing to a second start."""
    return AdversarialSetWriter(folder, _MANIFEST).missing()


ALL = frozenset({"bytes", "files", "text", "tree", "picture"})

READERS = (
    Reader("image folder", _images, _dataset, "data"),
    Reader("single images", _single, _tensor, "data"),
    Reader("CIFAR-10 batches", _cifar, _cifar_value, "data", _cifar_sane),
    Reader("Broden, opened", write_set, _broden(lambda folder: BrodenDataset(folder, size=16)), "broden", _broden_sane),
    Reader(
        "Broden, checked",
        write_set,
        _broden(lambda folder: check_set(folder) and BrodenDataset(folder, size=16)),
        "broden",
        _broden_sane,
    ),
    Reader("Broden recipe", _recipe, _built, "broden", _broden_sane),
    Reader("adversarial set", _set, _set_value, "adversarial", sealed=ALL),
    Reader("adversarial set, continued", _set, _set_goes_on, "adversarial"),
)
