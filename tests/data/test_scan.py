from pathlib import Path

import pytest
from pictures import MakeFolder

from lightning_advinterp.data.scan import ALL, scan_folder, shorten


def test_splits_in_a_fixed_order(make_folder: MakeFolder):
    root = make_folder("val/b/1.jpg", "val/a/2.jpg", "train/b/9.png", "train/b/10.png", "train/a/x.jpg")
    splits = scan_folder(root)
    assert list(splits) == ["train", "val"]
    assert splits["train"].paths == ["train/a/x.jpg", "train/b/10.png", "train/b/9.png"]
    assert splits["train"].positions == [0, 1, 1]
    assert splits["train"].classes == ["a", "b"]
    assert splits["val"].paths == ["val/a/2.jpg", "val/b/1.jpg"]


def test_flat_classes(make_folder: MakeFolder):
    split = scan_folder(make_folder("b/1.jpg", "a/1.jpg"))[ALL]
    assert split.paths == ["a/1.jpg", "b/1.jpg"]
    assert split.labelled


def test_images_without_labels(make_folder: MakeFolder):
    split = scan_folder(make_folder("2.jpg", "1.jpg"))[ALL]
    assert split.paths == ["1.jpg", "2.jpg"]
    assert split.positions == [-1, -1]
    assert not split.labelled


def test_a_split_may_lack_labels(make_folder: MakeFolder):
    splits = scan_folder(make_folder("train/a/1.jpg", "val/a/1.jpg", "test/7.jpg"))
    assert splits["test"].paths == ["test/7.jpg"]
    assert splits["test"].positions == [-1]


def test_a_class_may_be_called_train(make_folder: MakeFolder):
    assert scan_folder(make_folder("train/1.jpg", "bus/1.jpg"))[ALL].classes == ["bus", "train"]


def test_only_a_validation_split(make_folder: MakeFolder):
    assert list(scan_folder(make_folder("val/a/1.jpg"))) == ["val"]


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "Png", "bmp", "webp", "ppm"])
def test_extensions_in_any_case(make_folder: MakeFolder, suffix: str):
    assert scan_folder(make_folder(f"a/1.{suffix}"))[ALL].paths == [f"a/1.{suffix}"]


def test_hidden_and_other_files_are_ignored(make_folder: MakeFolder):
    root = make_folder("a/1.jpg", "a/.2.jpg", ".cache/3.jpg")
    for name in ("images.csv", "SOURCE.md", "a/list.txt"):
        (root / name).write_text("../elsewhere/1.jpg")
    assert scan_folder(root)[ALL].paths == ["a/1.jpg"]


def test_links_are_followed(make_folder: MakeFolder):
    elsewhere = make_folder("1.jpg", root="elsewhere")
    root = make_folder("a/1.jpg")
    (root / "b").symlink_to(elsewhere)
    assert scan_folder(root)[ALL].paths == ["a/1.jpg", "b/1.jpg"]


def test_missing_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"must be a folder of images, found nothing at .*absent"):
        scan_folder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="found a file at"):
        scan_folder(tmp_path / "file")


def test_empty_folder(tmp_path: Path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"no image in .*found 0 folders \(none\) and 1 files; expected"):
        scan_folder(tmp_path)


def test_empty_split(make_folder: MakeFolder):
    root = make_folder("train/a/1.jpg")
    (root / "val").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no image in '.*val'"):
        scan_folder(root)


def test_all_class_folders_empty(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=r"found 2 folders \(a, b\)"):
        scan_folder(tmp_path)


def test_class_folder_without_image(make_folder: MakeFolder):
    root = make_folder("train/a/1.jpg", "train/c/1.jpg")
    (root / "train" / "b").mkdir()
    with pytest.raises(ValueError, match=r"1 of 3 class folders in '.*train' hold no image: b; expected"):
        scan_folder(root)


def test_one_level_too_high(make_folder: MakeFolder):
    with pytest.raises(FileNotFoundError, match=r"found 1 folders .*imagenet.* expected <class>"):
        scan_folder(make_folder("imagenet/a/1.jpg"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"], "only in 'train': b; add"),
        (["train/a/1.jpg", "val/a/1.jpg", "val/b/1.jpg"], "only in 'val': b; add"),
        (["train/a/1.jpg", "val/b/1.jpg"], "has 1 classes, 'val' 1; only in 'train': a; only in 'val': b"),
    ],
)
def test_splits_with_different_classes(make_folder: MakeFolder, names: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        scan_folder(make_folder(*names))


def test_shorten():
    assert shorten([]) == "none"
    assert shorten("abcdefg") == "a, b, c, d, e, … (7)"
