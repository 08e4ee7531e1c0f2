import csv
from collections import Counter
from pathlib import Path

import pytest
import torch
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from lightning_advinterp.data import ImageFolderDataset, imagenet_index
from lightning_advinterp.data.imagenet_classes import imagenet_classes
from lightning_advinterp.datamodules import CIFAR10DataModule, ImageFolderDataModule

pytestmark = pytest.mark.real


def test_imagenet_1k(real_data: Path):
    data = ImageFolderDataset.from_folder(real_data / "imagenet_1k", num_classes=1000)
    assert data.labels == list(range(1000))
    assert [path.split("/")[0] for path in data.paths] == [entry.wnid for entry in imagenet_classes()]
    with (real_data / "imagenet_1k" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [imagenet_index(row["wnid"]) for row in rows] == [int(row["index"]) for row in rows]
    reference = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224), v2.PILToTensor()])
    for item in (0, 123, 999):
        assert torch.equal(data[item].image, reference(default_loader(data.root / data.paths[item])))


def test_imagenet_nips2017(real_data: Path):
    root = real_data / "imagenet_nips2017"
    data = ImageFolderDataset.from_folder(root, num_classes=1000)
    with (root / "images.csv").open() as file:
        labels = {f"{row['wnid']}/{row['ImageId']}.jpg": int(row["index"]) for row in csv.DictReader(file)}
    assert dict(zip(data.paths, data.labels, strict=True)) == labels
    assert (len(data), len(set(data.labels))) == (1000, 430)


def test_imagenette_160(real_data: Path):
    data = ImageFolderDataModule(real_data / "imagenette_160", num_classes=1000, image_size=128, num_workers=2)
    data.setup()
    assert set(Counter(data.train_dataset.labels).values()) == {130}
    assert Counter(data.val_dataset.labels) == Counter(
        {label: 40 for label in (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)}
    )
    batch = next(iter(data.train_dataloader()))
    wnids = [path.split("/")[1] for path in map(data.train_dataset.path_of, batch.index.tolist())]
    assert batch.label.tolist() == [imagenet_index(wnid) for wnid in wnids]
    assert batch.image.shape == (100, 3, 128, 128)


def test_tiny_imagenet(real_data: Path):
    data = ImageFolderDataModule(real_data / "tiny_imagenet", image_size=64, resize=64, num_workers=0)
    data.setup()
    assert data.num_classes == 200
    assert (len(data.train_dataset), len(data.val_dataset)) == (6000, 2000)
    assert set(Counter(data.train_dataset.labels).values()) == {30}
    assert all(imagenet_index(wnid) >= 0 for wnid in data.classes)
    assert data.val_dataset[0].image.shape == (3, 64, 64)


def test_cifar10(real_data: Path):
    data = CIFAR10DataModule(real_data / "cifar10", val_share=None, num_workers=0)
    data.setup()
    assert Counter(data.train_dataset.labels) == Counter({label: 500 for label in range(10)})
    assert Counter(data.test_dataset.labels) == Counter({label: 100 for label in range(10)})
    folder = ImageFolderDataModule(real_data / "cifar10", image_size=32, resize=32)
    folder.setup("test")
    assert (list(data.classes), list(data.class_names)) == (folder.classes, folder.class_names)
    assert torch.equal(folder.test_dataset[321].image, data.test_dataset[321].image)
