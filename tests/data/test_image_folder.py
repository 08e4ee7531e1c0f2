import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import MakeFolder, picture
from PIL import Image
from torch.utils.data import DataLoader, Subset

from lightning_advinterp.data import BadImageError, Batch, ImageFolderDataset, collate_batch, image_tensor
from lightning_advinterp.data.transforms import EvalTransform, TrainTransform

EVAL = EvalTransform(32, 28)


def read(root: Path, split: str = "val", **kwargs) -> ImageFolderDataset:
    return ImageFolderDataset.from_folder(root, split, **{"transform": EVAL, **kwargs})


def test_a_sample(split_folder: Path):
    data = read(split_folder)
    assert len(data) == 6
    assert data.paths[4] == "val/dog/1.jpg" == data.path_of(4)
    assert data.labels == [0, 0, 0, 1, 1, 1]
    assert data.classes == data.class_names == ["cat", "dog"]
    sample = data[4]
    assert isinstance(sample, Batch)
    assert sample.image.shape == (3, 28, 28)
    assert sample.image.dtype == torch.uint8
    assert (sample.label.item(), sample.index.item()) == (1, 4)
    assert sample.label.dtype == sample.index.dtype == torch.int64
    assert torch.equal(sample.image, image_tensor(split_folder / "val/dog/1.jpg", 32, 28))


def test_images_without_labels(make_folder: MakeFolder):
    data = read(make_folder("b.jpg", "a.jpg"), num_classes=1000)
    assert data.paths == ["a.jpg", "b.jpg"]
    assert data.labels == [-1, -1]
    assert data.classes == []
    assert data[1].label.item() == -1


def test_imagenet_labels(make_folder: MakeFolder):
    root = make_folder("n01443537/1.jpg", "n15075141/1.jpg")
    assert read(root, num_classes=1000).labels == [1, 999]
    assert read(root, num_classes=1000).class_names[1] == "goldfish"
    assert read(root).labels == [0, 1]


def test_unknown_split(split_folder: Path):
    with pytest.raises(ValueError, match=r"split must be one of \['train', 'val'\] .*got 'test'"):
        read(split_folder, "test")


def test_limit_keeps_the_numbers_of_the_split(split_folder: Path):
    data = read(split_folder, "train", limit=4, seed=1)
    assert sorted(data.labels) == [0, 0, 1, 1]
    assert [data[i].index.item() for i in range(4)] == data.indices
    assert [data.path_of(i) for i in data.indices] == data.paths


def test_grey_alpha_and_cmyk(tmp_path: Path):
    for name, mode in (("a.jpg", "L"), ("b.png", "RGBA"), ("c.jpg", "CMYK"), ("d.png", "P")):
        picture(0).convert(mode).save(tmp_path / name)
    data = read(tmp_path)
    assert data.__getitems__([0, 1, 2, 3])[2].image.shape == (3, 28, 28)


def augmented(data: ImageFolderDataset, epoch: int, workers: int, batch_size: int) -> torch.Tensor:
    data.set_epoch(epoch)
    loader = DataLoader(data, batch_size, num_workers=workers, collate_fn=collate_batch)
    return torch.cat([batch.image for batch in loader])


def test_augmentation_depends_on_seed_epoch_and_index_alone(split_folder: Path):
    data = read(split_folder, "train", transform=TrainTransform(28), seed=3)
    reference = augmented(data, 1, workers=0, batch_size=12)
    torch.manual_seed(9)
    assert torch.equal(augmented(data, 1, workers=2, batch_size=5), reference)
    assert not torch.equal(augmented(data, 2, workers=0, batch_size=12), reference)
    reseeded = read(split_folder, "train", transform=TrainTransform(28), seed=4)
    assert not torch.equal(augmented(reseeded, 1, workers=0, batch_size=12), reference)
    part = read(split_folder, "train", transform=TrainTransform(28), seed=3, limit=5)
    assert torch.equal(augmented(part, 1, workers=0, batch_size=2), reference[part.indices])


def test_living_workers_follow_the_epoch(split_folder: Path):
    data = read(split_folder, "train", transform=TrainTransform(28))
    loader = DataLoader(data, 4, num_workers=2, collate_fn=collate_batch, persistent_workers=True)
    for epoch in (0, 1, 2):
        data.set_epoch(epoch)
        images = torch.cat([batch.image for batch in loader])
        assert torch.equal(images, torch.stack([data[i].image for i in range(12)]))


@pytest.fixture
def damaged_folder(split_folder: Path) -> Path:
    """Training images 1 (truncated) and 8 (no image) are unreadable."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = split_folder / "train/cat/1.jpg"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    (split_folder / "train/dog/2.jpg").write_bytes(b"not an image")
    return split_folder


@pytest.mark.parametrize("workers", [0, 2])
def test_error_names_the_bad_image(damaged_folder: Path, workers: int):
    loader = DataLoader(read(damaged_folder, "train"), 4, num_workers=workers)
    iterator = iter(loader)
    with pytest.raises(BadImageError, match=r"cannot read image '.*train/cat/1.jpg': .*on_bad_image='skip'"):
        next(iterator)
    if workers:
        iterator._shutdown_workers()  # else they end whenever the garbage collector comes by


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("collate", [None, collate_batch])
def test_skip_drops_counts_and_reports(damaged_folder: Path, workers: int, collate):
    data = read(damaged_folder, "train", on_bad_image="skip")
    batches = list(DataLoader(data, 4, num_workers=workers, collate_fn=collate))
    assert [batch.index.tolist() for batch in batches] == [[0, 2, 3], [4, 5, 6, 7], [9, 10, 11]]
    assert data.bad_images == ["train/cat/1.jpg", "train/dog/2.jpg"]
    message = r"skipped 2 of 12 images of '.*' \(split 'train'\) that cannot be read: train/cat/1.jpg, train/dog"
    with pytest.warns(UserWarning, match=message):
        data.set_epoch(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.report_bad_images()


def test_skip_works_in_a_subset(damaged_folder: Path):
    data = Subset(read(damaged_folder, "train", on_bad_image="skip"), [8, 1, 5])
    assert [batch.index.tolist() for batch in DataLoader(data, 3)] == [[5]]


def test_a_batch_of_bad_images_gets_the_next_readable_one(damaged_folder: Path):
    data = read(damaged_folder, "train", on_bad_image="skip")
    batches = [batch.index.tolist() for batch in DataLoader(data, 1)]
    assert batches[1] == [2]
    assert batches[8] == [9]


def test_an_image_asked_for_by_itself_is_never_skipped(damaged_folder: Path):
    with pytest.raises(BadImageError, match=r"train/cat/1.jpg"):
        read(damaged_folder, "train", on_bad_image="skip")[1]


def test_no_readable_image_at_all(tmp_path: Path):
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(b"no")
    with pytest.raises(BadImageError, match=r"none of the 3 images in '.*' can be read"):
        list(DataLoader(read(tmp_path, on_bad_image="skip"), 2))


def test_bad_argument(split_folder: Path):
    with pytest.raises(ValueError, match="on_bad_image must be 'error' or 'skip', got 'ignore'"):
        read(split_folder, on_bad_image="ignore")


def test_fingerprint(split_folder: Path):
    assert read(split_folder).fingerprint == read(split_folder, transform=None).fingerprint
    assert read(split_folder).fingerprint != read(split_folder, "train").fingerprint
    assert read(split_folder).fingerprint != read(split_folder, limit=4).fingerprint


def test_a_stamp_tells_of_other_pixels(split_folder: Path):
    """A file written again with as many bytes has the same path and size, but another time."""
    data, image = read(split_folder), split_folder / "val" / "dog" / "1.jpg"
    before, fingerprint = data.stamp, data.fingerprint
    assert read(split_folder, transform=None).stamp == before != data.only([0, 1]).stamp
    os.utime(image, ns=(1, 1))
    assert (data.stamp != before, data.fingerprint == fingerprint) == (True, True)
    image.unlink()
    assert data.stamp != before  # whoever reads it says that it is missing


def test_pickling(split_folder: Path):
    data = read(split_folder)
    assert torch.equal(pickle.loads(pickle.dumps(data))[2].image, data[2].image)


def test_image_tensor_errors(tmp_path: Path):
    with pytest.raises(ValueError, match="crop must be at most resize"):
        image_tensor(tmp_path / "x.jpg", 32, 64)
    with pytest.raises(BadImageError, match=r"cannot read image '.*x.jpg'"):
        image_tensor(tmp_path / "x.jpg")


@pytest.mark.parametrize("workers", [0, 2])
def test_images_with_an_orientation_are_counted_and_turned_when_asked(split_folder: Path, workers: int):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(3, (40, 20)).save(split_folder / "val/cat/1.jpg", exif=exif)
    stored, turned = read(split_folder), read(split_folder, orientation="exif")
    for data, done in ((stored, "are taken as stored, as in torchvision"), (turned, "were turned by it")):
        list(DataLoader(data, 4, num_workers=workers, collate_fn=collate_batch))
        with pytest.warns(
            UserWarning, match=rf"1 of 6 images .*'val'\) carry an EXIF orientation and {done}.*cat/1.jpg"
        ):
            data.report_bad_images()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data.report_bad_images()
    assert not torch.equal(stored[1].image, turned[1].image)
    difference = stored[1].image.rot90(-1, (1, 2)).int() - turned[1].image.int()
    assert difference.abs().max() <= 2  # rows and columns are resized in another order
    assert torch.equal(stored[2].image, turned[2].image)
    assert stored.fingerprint != turned.fingerprint == read(split_folder, orientation="exif").fingerprint
    with pytest.raises(ValueError, match="orientation must be 'stored' or 'exif', got 'up'"):
        read(split_folder, orientation="up")
