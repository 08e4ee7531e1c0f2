"""Tar shards and tables hold the same images, labels and numbers as the folder that they were made of."""

import gc
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import webdataset
from archived import add, images_of, tables, write_shards
from PIL import Image

from lightning_advinterp.data import archives
from lightning_advinterp.data.archives import scan_images
from lightning_advinterp.data.columns import SampleColumns
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.transforms import EvalTransform
from lightning_advinterp.datamodules import ImageFolderDataModule

FORMS = ("shards", "parquet", "saved")


@pytest.fixture(scope="module")
def forms(tmp_path_factory) -> dict[str, Path]:
    """One set of images in four forms."""
    base = tmp_path_factory.mktemp("forms")
    generator = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 3)):
        for name in ("cat", "dog"):
            (base / "folder" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(base / "folder" / split / name / f"{number}.png")
    write_shards(base / "folder", base / "shards")
    splits = tables(base / "folder")
    splits.save_to_disk(str(base / "saved"))
    (base / "parquet" / "data").mkdir(parents=True)
    datasets.config.HF_DATASETS_CACHE = base / "cache"
    for split, table in splits.items():
        table.to_parquet(str(base / "parquet" / "data" / f"{split}-00000-of-00001.parquet"))
    return {name: base / name for name in ("folder", *FORMS)}


def opened(root: Path | str, split: str = "val", **settings) -> ImageFolderDataset:
    return ImageFolderDataset.from_folder(root, split, transform=EvalTransform(18, 16), **settings)


@pytest.mark.parametrize("form", FORMS)
def test_images_labels_and_numbers_are_those_of_the_folder(forms, form):
    for split in ("train", "val"):
        folder, archive = opened(forms["folder"], split), opened(forms[form], split)
        assert (archive.labels, archive.classes, archive.indices) == (folder.labels, folder.classes, folder.indices)
        for place in range(len(folder)):
            for value, expected in zip(archive[place], folder[place], strict=True):
                assert torch.equal(value, expected)
    part = archive.only([2, 0])
    assert part.indices == [2, 0]
    assert torch.equal(part[0].image, archive[2].image)
    assert part.fingerprint != archive.fingerprint == opened(forms[form]).fingerprint


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset 1.0.2 leaves its files to the collector
def test_shards_are_read_as_webdataset_streams_them(forms):
    pattern = str(forms["shards"] / "train-{00000..00002}.tar")
    stream = webdataset.WebDataset(pattern, shardshuffle=False).decode("rgb8").to_tuple("png", "cls")
    data = ImageFolderDataset.from_folder(pattern, "train", transform=EvalTransform(20, 20))
    for place, (image, label) in enumerate(stream):
        centre = torch.from_numpy(image[:, 2:22].copy()).permute(2, 0, 1)
        assert torch.equal(data[place].image, centre)
        assert data.labels[place] == label
    assert place + 1 == len(data) == 10
    del stream
    gc.collect()


@pytest.mark.parametrize("form", FORMS)
def test_data_modules_take_them(forms, form):
    def batches(root):
        data = ImageFolderDataModule(root, image_size=16, batch_size=4, num_workers=0)
        data.setup("fit")
        return [batch for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]

    for batch, expected in zip(batches(forms[form]), batches(forms["folder"]), strict=True):
        assert all(torch.equal(*values) for values in zip(batch, expected, strict=True))


def test_classes_by_the_folders_in_keys(forms, tmp_path):
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for _, path in images_of(forms["folder"] / "val"):
            tar.add(path, path.relative_to(forms["folder"]))
    data = opened(tmp_path / "set.tar")
    assert (data.classes, data.labels) == (["cat", "dog"], [0, 0, 0, 1, 1, 1])
    assert data.path_of(5) == "set.tar/val/dog/2.png"
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(forms["folder"], ".")
    with pytest.raises(ValueError, match="hold the splits train, val"):
        opened(tmp_path / "set.tar")


def test_numbers_without_names_are_labels(forms, tmp_path):
    pixels = Image.new("RGB", (4, 4))
    for split, labels in (("train", [0, 2]), ("validation", [2, 1])):
        table = datasets.Dataset.from_dict(
            {"img": [pixels, pixels], "label": labels},
            datasets.Features(img=datasets.Image(), label=datasets.Value("int64")),
        )
        table.to_parquet(str(tmp_path / f"{split}.parquet"))
    splits = scan_images(tmp_path)
    assert [(split.classes, split.positions) for split in splits.values()] == [
        (["0", "1", "2"], [0, 2]),
        (["0", "1", "2"], [2, 1]),
    ]


def test_damaged_members_are_skipped_and_counted(forms, tmp_path):
    shard = tmp_path / "val-0.tar"
    good = (forms["folder"] / "val/cat/0.png").read_bytes()
    with tarfile.open(shard, "w") as tar:
        for number, content in enumerate((good, b"", good[:60], good)):
            add(tar, f"{number}.cls", b"0" if number else b"1")
            add(tar, f"{number}.png", content)
    data = opened(shard, on_bad_image="skip")
    assert [int(sample.index) for sample in data.readable(range(4))] == [0, 3]
    with pytest.warns(UserWarning, match=r"skipped 2 of 4 images .*val-0.tar/1.png, val-0.tar/2.png"):
        data.report_bad_images()
    with pytest.raises(BadImageError, match=r"val-0.tar/2.png"):
        opened(shard)[2]
    shard.write_bytes(shard.read_bytes()[: -len(good) - 10240])
    with pytest.warns(UserWarning, match=r"is cut off within '3.png'"):
        data = opened(shard)
    with pytest.raises(BadImageError, match="the shard ends after"):
        data[3]


def test_a_damaged_header_is_refused(forms, tmp_path):
    shard = tmp_path / "val-0.tar"
    content = bytearray((forms["shards"] / "val-00000.tar").read_bytes())
    with tarfile.open(forms["shards"] / "val-00000.tar") as tar:
        offset = tar.getmembers()[4].offset
    content[offset + 150] ^= 0xFF
    shard.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=f"damaged at byte {offset:,}"):
        opened(shard)


def test_what_is_refused(forms, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"1 of 3 files .*val-00002.tar"):
        opened(forms["shards"] / "val-{00000..00002}.tar")
    with pytest.raises(ValueError, match="decompress it"):
        opened(tmp_path / "set.tar.gz")
    with pytest.raises(ValueError, match=r"label_column: .* has the columns image, label, no 'name'"):
        opened(forms["saved"], columns=SampleColumns(label="name"))
    with pytest.raises(ValueError, match=r"has no label .'txt'"):
        opened(forms["shards"], columns=SampleColumns(label="txt"))
    with pytest.raises(ValueError, match=r"split must be one of .*train.* got 'test'"):
        opened(forms["saved"], "test")
    monkeypatch.setattr(archives, "find_spec", lambda library: None)
    for form in FORMS:
        with pytest.raises(ValueError, match=r'pip install "lightning-advinterp\[data\]"'):
            opened(forms[form])
