"""Layouts of downloaded sets are understood; what is not read is counted and named."""

import os
import re
import warnings
from pathlib import Path

import pytest
from pictures import MakeFolder, picture

from lightning_advinterp.data import ImageFolderDataset
from lightning_advinterp.data.scan import ALL, scan_folder
from lightning_advinterp.data.split_names import split_of
from lightning_advinterp.datamodules import ImageFolderDataModule


@pytest.mark.parametrize("train", ["train", "Training", "TRAIN", "train_set", "train2017"])
@pytest.mark.parametrize("val", ["valid", "Validation", "dev", "eval", "val2017"])
@pytest.mark.parametrize("test", ["testing", "Test-Set"])
def test_splits_in_their_usual_spellings(make_folder: MakeFolder, train: str, val: str, test: str):
    splits = scan_folder(make_folder(*[f"{split}/{name}/1.jpg" for split in (train, val, test) for name in "ab"]))
    assert {name: split.paths for name, split in splits.items()} == {
        name: [f"{folder}/a/1.jpg", f"{folder}/b/1.jpg"]
        for name, folder in (("train", train), ("val", val), ("test", test))
    }


def test_splits_inside_longer_names(make_folder: MakeFolder):
    splits = scan_folder(make_folder("birds_training/a/1.jpg", "birds_val_images/a/1.jpg"))
    assert [split.paths[0] for split in splits.values()] == ["birds_training/a/1.jpg", "birds_val_images/a/1.jpg"]
    stations = scan_folder(make_folder("train station/1.jpg", "test tube/1.jpg", root="words"))
    assert stations[ALL].classes == ["test tube", "train station"]


def test_a_split_asked_for_by_its_folder(make_folder: MakeFolder):
    root = make_folder("train/a/1.jpg", "validation/a/1.jpg", "train/b/1.jpg", "validation/b/1.jpg")
    for name in ("val", "validation", "dev"):
        assert ImageFolderDataset.from_folder(root, name).paths[0] == "validation/a/1.jpg"


def test_training_and_validation_take_both(make_folder: MakeFolder):
    root = make_folder("training/a/1.jpg", "training/b/1.jpg", "valid/a/1.jpg", "valid/b/1.jpg")
    data = ImageFolderDataModule(root, image_size=28, num_workers=0)
    data.setup("fit")
    assert (data.train_dataset.paths[0], data.val_dataset.paths[0]) == ("training/a/1.jpg", "valid/a/1.jpg")


def test_two_folders_for_one_split(make_folder: MakeFolder):
    with pytest.raises(ValueError, match=r"dev/ and val/ in '.*' both stand for the split 'val'; remove or rename"):
        scan_folder(make_folder("train/a/1.jpg", "val/a/1.jpg", "dev/a/1.jpg"))


@pytest.mark.parametrize("split", ["", "train/"])
def test_images_in_folders_inside_class_folders(make_folder: MakeFolder, split: str):
    root = make_folder(*[f"{split}{path}" for path in ("a/left/1.jpg", "a/0.jpg", "a/right/x/2.jpg", "b/1.jpg")])
    split_files = scan_folder(root)[split.strip("/") or ALL]
    assert split_files.paths == [f"{split}{path}" for path in ("a/0.jpg", "a/left/1.jpg", "a/right/x/2.jpg", "b/1.jpg")]
    assert (split_files.positions, split_files.classes) == ([0, 0, 0, 1], ["a", "b"])


def test_the_order_is_that_of_torchvision(make_folder: MakeFolder):
    from torchvision.datasets import ImageFolder

    root = make_folder("a/1.jpg", "a/10.jpg", "a/2.jpg", "b/9.png", "b/.hidden.png")
    theirs = [
        Path(path).relative_to(root).as_posix() for path, _ in ImageFolder(str(root)).samples if "hidden" not in path
    ]
    assert scan_folder(root)[ALL].paths == theirs


@pytest.fixture
def tiny_imagenet(make_folder: MakeFolder) -> Path:
    """The folder as its archive unpacks."""
    names = [f"train/{wnid}/images/{wnid}_{i}.JPEG" for wnid in ("n01443537", "n01629819") for i in range(2)]
    names += [f"val/images/val_{i}.JPEG" for i in range(3)] + ["test/images/test_0.JPEG"]
    root = make_folder(*names)
    for wnid in ("n01443537", "n01629819"):
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text("x\t0\t0\t62\t62\n")
    lines = ["val_0.JPEG\tn01629819\t0\t32\t44\t62", "val_1.JPEG\tn01443537\t52\t55\t57\t59"]
    lines += ["val_2.JPEG\tn01629819\t4\t0\t60\t55"]
    (root / "val/val_annotations.txt").write_text("\n".join(lines) + "\n")
    (root / "wnids.txt").write_text("n01443537\nn01629819\n")
    return root


def test_tiny_imagenet_as_downloaded(tiny_imagenet: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = scan_folder(tiny_imagenet)
    assert splits["train"].positions == [0, 0, 1, 1]
    assert splits["val"].paths == [f"val/images/val_{i}.JPEG" for i in (1, 0, 2)]
    assert splits["val"].positions == [0, 1, 1]
    assert splits["val"].classes == splits["train"].classes == ["n01443537", "n01629819"]
    assert (splits["test"].positions, splits["test"].labelled) == ([-1], False)
    data = ImageFolderDataModule(tiny_imagenet, image_size=28, num_workers=0)
    data.setup()
    assert (len(data.train_dataset), data.val_dataset.labels) == (4, [0, 1, 1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_2.JPEG", "line 3: expected a file and its class"),
        ("val_0.JPEG\tn01443537", "line 3: 'val_0.JPEG' has two classes"),
        ("other.JPEG\tn01443537", r"names no class for 1 of 3 images \(val_2.JPEG\)"),
    ],
)
def test_annotations_that_are_wrong(tiny_imagenet: Path, line: str, message: str):
    path = tiny_imagenet / "val/val_annotations.txt"
    path.write_text("\n".join([*path.read_text().splitlines()[:2], line]))
    with pytest.raises(ValueError, match=message):
        scan_folder(tiny_imagenet)


def unread(root: Path, expected: str) -> None:
    with pytest.warns(UserWarning, match=re.escape(f"{str(root)!r}: not read are {expected}")):
        scan_folder(root)


def test_files_that_are_not_read_are_counted_and_named(make_folder: MakeFolder):
    root = make_folder("a/1.jpg", "b/1.jpg")
    for name in ("a/2.heic", "a/3.HEIC", "b/2.npy", "b/noending", "b/notes.txt"):
        (root / name).write_bytes(b"x")
    unread(root, f"4 files: 2 .heic, 1 .npy, 1 without an ending in {str(root)!r}")


@pytest.mark.parametrize("split", ["", "train/"])
def test_images_beside_class_folders_are_named(make_folder: MakeFolder, split: str):
    root = make_folder(*[f"{split}{path}" for path in ("a/1.jpg", "b/1.jpg", "loose.jpg")])
    unread(root, "1 images beside the class folders (loose.jpg)")


def test_folders_beside_splits_are_named(make_folder: MakeFolder):
    root = make_folder("train/a/1.jpg", "val/a/1.jpg", "extra/a/1.jpg", "extra/b/2.jpg", "loose.jpg")
    (root / "annotations").mkdir()
    (root / "annotations" / "a.xml").touch()
    unread(root, "1 images beside the splits (loose.jpg); folders beside the splits: extra/ (2 images)")


def test_folders_beside_images_are_named(make_folder: MakeFolder):
    """Masks are no pictures of the class."""
    root = make_folder("a/images/1.png", "a/masks/1.png", "b/images/1.png", "b/masks/1.png")
    unread(root, "folders beside images/ in class folders: masks/ (2 images)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scan_folder(root)[ALL].paths == ["a/images/1.png", "b/images/1.png"]


def test_pipes_are_no_images(make_folder: MakeFolder):
    root = make_folder("a/1.jpg", "b/1.jpg")
    os.mkfifo(root / "a" / "2.jpg")
    unread(root, f"1 files: 1 pipes and devices in {str(root)!r}")


@pytest.mark.parametrize("ending", ["tif", "TIFF", "gif", "pgm", "jfif", "avif", "jpe", "pnm"])
def test_more_endings(make_folder: MakeFolder, ending: str):
    root = make_folder("a/1.jpg", "b/1.jpg")
    (root / "a" / "1.jpg").rename(root / "a" / f"1.{ending}")
    data = ImageFolderDataset.from_folder(root)
    assert (data.paths[0], data[0].image.shape) == (f"a/1.{ending}", (3, 224, 224))


def test_class_folders_of_unread_files_alone(make_folder: MakeFolder):
    root = make_folder("a/1.jpg")
    (root / "b").mkdir()
    (root / "b" / "1.heic").touch()
    with pytest.raises(ValueError, match=r"1 of 2 class folders .* hold no image: b; .* Not read are 1 files: 1 .heic"):
        scan_folder(root)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["cat/train/1.jpg", "cat/test/2.jpg", "dog/train/1.jpg"],
            "hold splits .cat/ has test, train.; sort the images",
        ),
        (["one/cat/1.jpg", "one/dog/1.jpg", "two/cat/1.jpg", "two/dog/1.jpg"], "all hold the same folders .cat, dog."),
    ],
)
def test_layouts_that_may_mean_two_things_are_refused(make_folder: MakeFolder, names: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        scan_folder(make_folder(*names))


def test_a_link_that_leads_back(make_folder: MakeFolder):
    root = make_folder("a/1.jpg", "b/1.jpg")
    (root / "a" / "again").symlink_to(root / "a")
    assert scan_folder(root)[ALL].paths == ["a/1.jpg", "b/1.jpg"]


def test_names_that_are_no_utf8(tmp_path: Path):
    """Names of classes go into tables, checkpoints and logs; files are opened by their own names."""
    for name in (b"caf\xe9", b"tea"):
        folder = os.path.join(os.fsencode(tmp_path), b"set", name)
        os.makedirs(folder)
        picture(0).save(os.fsdecode(os.path.join(folder, b"\xff.jpg")))
    data = ImageFolderDataset.from_folder(tmp_path / "set", num_classes=2)
    assert data.classes == data.class_names == ["caf\\xe9", "tea"]
    assert data.path_of(0) == "caf\\xe9/\\xff.jpg"
    assert data[0].image.shape == (3, 224, 224)
    "".join([*data.classes, data.path_of(0), data.labelling, data.fingerprint]).encode()


def test_split_names():
    assert [split_of(name) for name in ("bus", "test1", "devil", "trainer")] == [None] * 4


@pytest.mark.parametrize("folder", ["images", "Images", "JPEGImages"])
@pytest.mark.parametrize("beside", ["meta", "annotations"])
def test_class_folders_below_images(make_folder: MakeFolder, folder: str, beside: str):
    """Food-101, CUB and DTD keep lists in a folder beside the images."""
    root = make_folder(f"{folder}/a/1.jpg", f"{folder}/b/1.jpg")
    (root / beside).mkdir()
    (root / beside / "train.txt").touch()
    assert scan_folder(root)[ALL].paths == [f"{folder}/a/1.jpg", f"{folder}/b/1.jpg"]
