"""A set in Broden's format in one tar file gives what the unpacked folder gives."""

import shutil
import tarfile

import numpy as np
import pytest
import torch
from broden_sets import write_set
from torch.utils.data import DataLoader

from lightning_advinterp.data.broden import BrodenDataset, BrodenError
from lightning_advinterp.data.broden.check import check_set
from lightning_advinterp.data.loaders import collate_batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("sets") / "broden")


def packed(folder, path, name="broden1_224", mode="w"):
    with tarfile.open(path, mode) as tar:
        tar.add(folder, name)
    return path


@pytest.mark.parametrize("name", ["broden1_224", "", "./a/b"])
def test_a_tar_gives_what_the_folder_gives(folder, tmp_path, name):
    expected, data = BrodenDataset(folder, size=8), check_set(packed(folder, tmp_path / "set.tar", name))
    assert (data.fingerprint, data.rows, data.concepts) == (expected.fingerprint, expected.rows, expected.concepts)
    data = BrodenDataset(tmp_path / "set.tar", size=8)
    for number in range(len(expected)):
        assert torch.equal(data[number].image, expected[number].image)
        maps, labels = data.segmentation(number), expected.segmentation(number)
        assert maps.whole == labels.whole
        assert maps.maps.keys() == labels.maps.keys()
        assert all(np.array_equal(maps.maps[category], labels.maps[category]) for category in labels.maps)


def test_workers_of_a_loader_read_a_tar(folder, tmp_path):
    data = BrodenDataset(packed(folder, tmp_path / "set.tar"), size=8)
    batches = DataLoader(data, batch_size=2, num_workers=2, collate_fn=collate_batch)
    images = torch.cat([batch.image for batch in batches])
    expected = BrodenDataset(folder, size=8)
    assert torch.equal(images, torch.stack([expected[number].image for number in range(len(expected))]))


def test_a_tar_that_is_written_again_has_another_stamp(folder, tmp_path):
    data = BrodenDataset(packed(folder, tmp_path / "set.tar"), size=8)
    stamp = data.stamp
    packed(folder, tmp_path / "set.tar", "another_folder")
    assert data.stamp != stamp


def test_what_is_missing_is_told_as_of_a_folder(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "images" / "a" / "0_color.png").unlink()
    (broken / "images" / "b" / "3.png").write_bytes(b"")
    messages = []
    for root in (broken, packed(broken, tmp_path / "broken.tar")):
        with pytest.raises(BrodenError) as error:
            BrodenDataset(root, size=8)
        messages.append(str(error.value).partition("\n")[2])
    assert messages[0] == messages[1]
    assert "cannot find 'images/a/0_color.png' (No such file or directory)" in messages[0]


def test_tars_that_hold_no_set_are_refused(folder, tmp_path):
    whole = packed(folder, tmp_path / "set.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tar").write_text("no tar")
    packed(folder / "images", tmp_path / "images.tar")
    with tarfile.open(tmp_path / "two.tar", "w") as tar:
        for name in ("one", "two"):
            tar.add(folder, name)
    for name, message in (
        ("cut.tar", "is no plain tar file, or is cut off"),
        ("text.tar", "is no plain tar file, or is cut off"),
        ("images.tar", "holds no index.csv; expected one set in Broden's format"),
        ("two.tar", r"holds several sets \(one, two\)"),
        (packed(folder, tmp_path / "set.tar.gz", mode="w:gz").name, "is compressed.*decompress it to .tar"),
    ):
        with pytest.raises(BrodenError, match=message):
            BrodenDataset(tmp_path / name, size=8)


def test_a_tar_that_is_cut_off_while_it_is_read_is_named(folder, tmp_path):
    path = packed(folder, tmp_path / "set.tar")
    data = BrodenDataset(path, size=8)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(
        BrodenError, match=r"index.csv, row 2, column image: 'images/a/0.png' cannot be read: .*ends after"
    ):
        data[0]
