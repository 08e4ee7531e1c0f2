import csv
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from broden_sets import write_set
from pictures import picture
from PIL import Image

from lightning_advinterp.data.broden import BrodenDataset, BrodenWriter, Label, check_set
from lightning_advinterp.data.broden.maps import Segmentation

LABELS = (
    Label(1, "red-c", ("color",)),
    Label(300, "door", ("part", "object")),
    Label(65535, "wheel", ("part",)),
    Label(9, "street-s", ("scene",)),
)
CATEGORIES = ("color", "object", "part", "scene")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "made" / "set"


def open_writer(root: Path) -> BrodenWriter:
    return BrodenWriter(root, CATEGORIES, LABELS, (4, 6))


def pixels(seed: int = 0) -> np.ndarray:
    return np.asarray(picture(seed, (12, 10)))


def assert_equal(a: Segmentation, b: Segmentation) -> None:
    assert (a.maps.keys(), a.whole) == (b.maps.keys(), b.whole)
    for category, layers in a.maps.items():
        np.testing.assert_array_equal(layers, b.maps[category])


def copy_set(data: BrodenDataset, root: Path, numbers: range) -> BrodenDataset:
    """Write what was read of some images."""
    labels = []
    with (data.root / "label.csv").open() as file:
        for row in csv.DictReader(file):
            categories = tuple(mention.split("(")[0] for mention in row["category"].split(";"))
            labels.append(Label(int(row["number"]), row["name"], categories))
    with BrodenWriter(root, data.categories, labels, data.label_size) as writer:
        for number in numbers:
            maps, full_labels = data.segmentation(number)
            writer.add(
                data.path_of(number),
                data.root / "images" / data.path_of(number),
                {data.categories[k]: layers for k, layers in maps.items()},
                {data.categories[k]: numbers for k, numbers in full_labels.items()},
                split=data.rows[number].split,
            )
    return check_set(root)


def test_round_trip(root: Path, tmp_path: Path):
    generator = np.random.default_rng(0)
    color = generator.choice([0, 1], (4, 6))
    parts = generator.choice([0, 300, 65535], (3, 4, 6)).astype(np.uint16)
    with open_writer(root) as writer:
        writer.add("x/a.png", pixels(0), {"color": color, "part": parts}, {"scene": [9], "part": [65535]}, split="val")
        writer.add("b.jpg", Image.fromarray(pixels(1)), {"object": np.full((1, 4, 6), 300), "color": color * 0})
    data = check_set(root)
    assert_equal(data.segmentation(0), Segmentation({0: color[None], 2: parts}, {2: (65535,), 3: (9,)}))
    assert_equal(data.segmentation(1), Segmentation({1: np.full((1, 4, 6), 300)}, {}))  # a map of nothing is left out
    assert [data.path_of(i) for i in range(2)] == ["x/a.png", "b.jpg"]
    assert [row.split for row in data.rows] == ["val", "train"]
    assert data.concepts[300].category == 2  # three layers cover more than one
    stored = BrodenDataset(root)
    np.testing.assert_array_equal(stored[0].image.permute(1, 2, 0), pixels(0))
    jpeg = BytesIO()
    Image.fromarray(pixels(1)).save(jpeg, "JPEG", quality=95)
    assert (root / "images/b.jpg").read_bytes() == jpeg.getvalue()


def test_tables(root: Path):
    with open_writer(root) as writer:
        half = np.repeat([[0, 0, 0, 300, 300, 300]], 4, axis=0)
        writer.add("a.png", pixels(), {"part": np.stack([half, half]), "object": half}, {"scene": [9]})
        writer.add("b.png", pixels(), {"part": half})
    expected = {
        "index.csv": "image,split,ih,iw,sh,sw,color,object,part,scene\n"
        "a.png,train,10,12,4,6,,a_object.png,a_part_1.png;a_part_2.png,9\nb.png,train,10,12,4,6,,,b_part.png,\n",
        "label.csv": "number,name,category,frequency,coverage,syns\n1,red-c,color(0),0,0.000000,\n"
        "9,street-s,scene(1),1,1.000000,\n300,door,part(2);object(1),3,2.000000,\n65535,wheel,part(0),0,0.000000,\n",
        "category.csv": "name,first,last,count,frequency\ncolor,1,1,1,0\nobject,300,300,1,1\npart,300,65535,2,2\n"
        "scene,9,9,1,1\n",
        "c_part.csv": "code,number,name,frequency,coverage\n1,300,door,2,1.500000\n2,65535,wheel,0,0.000000\n",
        "c_object.csv": "code,number,name,frequency,coverage\n1,300,door,1,0.500000\n",
    }
    for name, text in expected.items():
        assert (root / name).read_text() == text


def test_a_set_survives_being_copied(root: Path, tmp_path: Path):
    source = BrodenDataset(write_set(tmp_path / "source"), size=16)
    copied = copy_set(source, root, range(len(source)))
    for number in range(len(source)):
        assert_equal(copied.segmentation(number), source.segmentation(number))


@pytest.mark.real
def test_real_images_survive_being_copied(real_data: Path, root: Path):
    source = BrodenDataset(real_data / "broden_sample_224")
    numbers = range(0, len(source), 60)
    copied = copy_set(source, root, numbers)
    for place, number in enumerate(numbers):
        assert_equal(copied.segmentation(place), source.segmentation(number))
        np.testing.assert_array_equal(BrodenDataset(root)[place].image, source[number].image)


@pytest.mark.parametrize(("side", "map_side"), [(224, 112), (227, 113), (384, 192)])
def test_the_sizes_of_broden(root: Path, side: int, map_side: int):
    numbers = np.random.default_rng(side).choice([0, 300, 65535], (map_side, map_side))
    with BrodenWriter(root, CATEGORIES, LABELS, (map_side, map_side)) as writer:
        writer.add("a.png", picture(0, (side, side)), {"part": numbers})
    for size in (None, 224, 299):
        data = BrodenDataset(root, size=size)
        assert data[0].image.shape == (3, size or side, size or side)
        np.testing.assert_array_equal(data.segmentation(0).maps[2][0], numbers)


def test_nothing_is_left_of_a_set_that_was_not_finished(root: Path):
    def stop() -> None:
        with open_writer(root) as writer:
            writer.add("a.png", pixels())
            assert not root.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert os.listdir(root.parent) == []


def test_a_table_that_cannot_be_written_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(BrodenWriter, "_write", fail)
    with pytest.raises(OSError, match="disk full"), open_writer(root) as writer:
        writer.add("a.png", pixels())
    assert os.listdir(root.parent) == []


def test_a_folder_in_use_is_not_touched(root: Path):
    root.mkdir(parents=True)
    (root / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="exists already; remove it, or name another folder"), open_writer(root):
        pass
    assert os.listdir(root) == ["mine.txt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "../a.png"}, r"path: '../a.png' leaves the folder images/"),
        ({"path": "taken.png"}, r"path: 'images/taken.png' has been written already"),
        ({"path": "taken.jpg"}, r"path: 'images/taken_color.png' has been written already"),
        ({"split": "dev"}, r"split of 'a.png' must be one of train, val, test, got 'dev'"),
        ({"maps": {"color": np.ones((4, 5), int)}}, r"maps\['color'\] of 'a.png' must be integers .*, got int64"),
        ({"maps": {"color": np.ones((4, 6))}}, r"maps\['color'\] of 'a.png' must be integers .* got float64 \(4, 6\)"),
        ({"maps": {"color": np.full((4, 6), 300)}}, r"maps\['color'\] of 'a.png': 300 is not the number of a label of"),
        ({"maps": {"color": np.full((4, 6), -1)}}, r"maps\['color'\] of 'a.png': -1 is not the number of a label of"),
        ({"maps": {"depth": np.ones((4, 6), int)}}, r"maps\['depth'\] of 'a.png': the categories are color"),
        ({"whole": {"scene": [1]}}, r"whole\['scene'\] of 'a.png': 1 is not the number of a label of this category"),
        ({"whole": {"scene": [9, 9]}}, r"whole\['scene'\] of 'a.png' must be different numbers other than 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(root: Path, change: dict, message: str):
    arguments = {"path": "a.png", "image": pixels(), "maps": {"color": np.ones((4, 6), int)}} | change
    with open_writer(root) as writer:
        writer.add("taken.png", pixels(), {"color": np.ones((4, 6), int)})
        with pytest.raises(ValueError, match=message):
            writer.add(**arguments)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (Label(0, "none", ("color",)), r"numbers must be from 1 to 65535, got 0 \('none'\)"),
        (Label(65536, "much", ("color",)), r"numbers must be from 1 to 65535, got 65536"),
        (Label(300, "gate", ("part",)), r"300 is both 'door' and 'gate'"),
        (Label(2, "door", ("color", "part")), "300 and 2 are both 'door' in 'part'"),
        (Label(2, "", ("part",)), r"2 needs a name and categories among color, object, part, scene, got ''"),
        (Label(2, "deep", ("depth",)), r"2 needs a name and categories among .*, got 'deep' and \('depth',\)"),
        (Label(2, "lost", ()), r"2 needs a name and categories among"),
    ],
)
def test_labels_that_do_not_fit(root: Path, label: Label, message: str):
    with pytest.raises(ValueError, match=f"labels: {message}"):
        BrodenWriter(root, CATEGORIES, (*LABELS, label), (4, 6))
