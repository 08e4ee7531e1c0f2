import csv
import struct
import zlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from broden_sets import CATEGORIES, INDEX, LABELS, numbers_of, write_png, write_set
from PIL import Image
from skimage import io
from torchvision.transforms import v2

from lightning_advinterp.data.broden import BrodenDataset, Concept, dataset, open_concepts
from lightning_advinterp.data.broden.files import FolderFiles
from lightning_advinterp.data.broden.findings import Findings
from lightning_advinterp.data.broden.maps import read_map, verify
from lightning_advinterp.data.broden.tables import TableReader
from lightning_advinterp.data.broden.vocabulary import read_vocabulary
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.data.loaders import make_loader


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def test_tables(root: Path):
    data = BrodenDataset(root, size=16)
    assert data.categories == CATEGORIES
    assert data.label_size == (8, 8)
    # A door covers 1.0 images as an object and 0.5 as a part: an object, though label.csv names part first.
    category = {1: 0, 2: 0, 300: 1, 301: 1, 302: 2, 700: 3, 65535: 3}
    assert data.concepts == {row[0]: Concept(row[0], row[1], category[row[0]]) for row in LABELS}
    assert (len(data), data.path_of(2)) == (5, "b/2.png")


def test_segmentation(root: Path):
    data = BrodenDataset(root, size=16)
    for i, row in enumerate(INDEX):
        maps = {}
        for k, cell in enumerate(row[6:]):
            if layers := [numbers_of(value) for value in cell.split(";") if value.endswith(".png")]:
                maps[k] = np.stack(layers)
        segmentation = data.segmentation(i)
        assert segmentation.maps.keys() == maps.keys()
        for k in maps:
            assert segmentation.maps[k].dtype == np.int32
            np.testing.assert_array_equal(segmentation.maps[k], maps[k])
    assert [data.segmentation(i).whole for i in range(5)] == [
        {},
        {3: (700,)},
        {2: (302,), 3: (700, 65535)},
        {3: (65535,)},
        {},
    ]
    assert [data.segmentation(0).maps[k].shape[0] for k in (0, 1, 2)] == [1, 1, 2]


def test_images_and_maps_have_sizes_of_their_own(root: Path):
    stored, small = BrodenDataset(root, size=16), BrodenDataset(root, size=12)
    raw = io.imread(root / "images/a/0.png")
    torch.testing.assert_close(stored[0].image, torch.from_numpy(raw).permute(2, 0, 1))
    with Image.open(root / "images/b/2.png") as image:  # 20 x 16: squashed whole, not cropped
        squashed = v2.functional.pil_to_tensor(v2.functional.resize(image, [12, 12]))
    assert torch.equal(small[2].image, squashed)
    assert small.label_size == small.segmentation(2).maps[0].shape[1:] == (8, 8)
    with pytest.raises(ValueError, match="2 sizes and make no batch as they are; give the side of the network's input"):
        BrodenDataset(root)
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        BrodenDataset(root, size=0)


def test_splits_and_choices_keep_numbers(root: Path):
    everything, val = BrodenDataset(root, size=16), BrodenDataset(root, size=16, split="val")
    assert val.indices == [2, 3]
    part = val.only([1])
    assert (len(part), part[0].index.item(), part[0].label.item()) == (1, 3, -1)
    assert torch.equal(part[0].image, everything[3].image)
    assert part.path_of(3) == "b/3.png"
    assert part.segmentation(2).whole == everything.segmentation(2).whole
    batch = next(iter(make_loader(val, batch_size=2)))
    assert batch.index.tolist() == [2, 3]
    with pytest.raises(ValueError, match=r"split must be one of train, val \(found in .*\) or None, got 'test'"):
        BrodenDataset(root, size=16, split="test")


def test_fingerprint(root: Path, tmp_path: Path):
    data = BrodenDataset(root, size=16)
    copied = BrodenDataset(write_set(tmp_path / "elsewhere"), size=12)
    assert data.fingerprint == copied.fingerprint == data.only(range(5)).fingerprint
    choices = {data.only(items).fingerprint for items in ([0], [1], [0, 1])}
    assert len({data.fingerprint, BrodenDataset(root, size=16, split="val").fingerprint} | choices) == 5
    fingerprints = {data.fingerprint}
    for change in (
        lambda: (root / "c_scene.csv").write_text((root / "c_scene.csv").read_text() + "\n"),
        lambda: (root / "images/a/0_part_2.png").write_bytes((root / "images/a/0_part_2.png").read_bytes() + b"\0"),
        lambda: (root / "images/b/3.png").write_bytes((root / "images/b/3.png").read_bytes() + b"\0"),
        lambda: (root / "label.csv").write_text((root / "label.csv").read_text().replace("wheel", "tyres")),
    ):
        change()
        fingerprints.add(BrodenDataset(root, size=16).fingerprint)
    assert len(fingerprints) == 5


def test_only_the_index_is_read_when_opened(root: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(path):
        raise AssertionError(path)

    monkeypatch.setattr(dataset, "open_image", fail)
    monkeypatch.setattr(dataset, "read_map", fail)
    assert len(open_concepts(root, 16)) == 5


def test_links_and_palettes_are_read(root: Path, tmp_path: Path):
    (root / "images").rename(tmp_path / "other_disk")
    (root / "images").symlink_to(tmp_path / "other_disk")
    file = root / "images/a/0_object.png"
    with Image.open(file) as image:
        image.quantize(8).save(file)  # three colours: a palette holds them without loss
    with Image.open(file) as image:
        assert image.mode == "P"
    np.testing.assert_array_equal(BrodenDataset(root, size=16).segmentation(0).maps[1][0], numbers_of("a/0_object.png"))


def test_a_map_made_by_hand(tmp_path: Path):
    """Two pixels, 300 = 44 + 256 · 1 and 65,535, written chunk by chunk as the PNG specification says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes([0, 44, 1, 9, 255, 255, 9]))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    (tmp_path / "map.png").write_bytes(png)
    assert read_map(tmp_path / "map.png").tolist() == [[300, 65535]]


def test_a_cut_map_never_passes_for_another(tmp_path: Path):
    numbers = numbers_of("a/0_object.png")
    write_png(tmp_path / "map.png", numbers)
    png = (tmp_path / "map.png").read_bytes()
    for length in range(len(png) - 4):  # the last four bytes are the check sum of an empty chunk
        (tmp_path / "map.png").write_bytes(png[:length])
        with pytest.raises(BadImageError):
            verify(tmp_path / "map.png")
        try:
            np.testing.assert_array_equal(read_map(tmp_path / "map.png"), numbers)
        except BadImageError:
            continue


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def literal_primary_categories(folder: Path) -> dict[int, str]:
    """NetDissect's rule, word for word: the maximum of (coverage, place of the category) over all categories."""
    categories = [row["name"] for row in table(folder / "category.csv")]
    coverage = defaultdict(float)
    for name in categories:
        for row in table(folder / f"c_{name}.csv"):
            coverage[int(row["number"]), name] = float(row["coverage"])
    primary = {}
    for row in table(folder / "label.csv"):
        number = int(row["number"])
        primary[number] = max((coverage[number, name], place, name) for place, name in enumerate(categories))[2]
    return primary


@pytest.mark.real
def test_vocabulary_of_broden_itself(real_data: Path):
    folder = real_data / "netdissect_reference" / "broden1_224_metadata"
    findings = Findings()
    vocabulary = read_vocabulary(TableReader(FolderFiles(folder), findings))
    assert not findings.count
    assert vocabulary.categories == ("color", "object", "part", "material", "scene", "texture")
    primary = {number: vocabulary.categories[c.category] for number, c in vocabulary.concepts.items()}
    assert primary == literal_primary_categories(folder)
    rows = table(folder / "label.csv")
    assert {int(row["number"]): row["name"] for row in rows} == {n: c.name for n, c in vocabulary.concepts.items()}
    several = [row for row in rows if ";" in row["category"]]
    secondary = [row["name"] for row in several if not row["category"].startswith(primary[int(row["number"])])]
    assert (len(several), len(secondary), secondary[0]) == (173, 17, "door")


@pytest.mark.real
def test_real_set(real_data: Path):
    root = real_data / "broden_sample_224"
    data = BrodenDataset(root)
    assert (len(data), data.label_size, len(data.concepts)) == (1766, (112, 112), 183)
    assert data[0].image.shape == (3, 224, 224)
    # Frequency and coverage of every label, recounted here, are those of the set's own tables.
    images, pixels = Counter(), defaultdict(float)
    for i in range(len(data)):
        maps, full_labels = data.segmentation(i)
        for category, layers in maps.items():
            counts = np.bincount(layers.ravel())
            for number in counts.nonzero()[0]:
                images[category, int(number)] += 1
                pixels[category, int(number)] += counts[number] / 112**2
        for category, numbers in full_labels.items():
            for number in numbers:
                images[category, number] += 1
                pixels[category, number] += 1
    for category, name in enumerate(data.categories):
        for row in table(root / f"c_{name}.csv"):
            key = category, int(row["number"])
            assert images[key] == int(row["frequency"])
            assert pixels[key] == pytest.approx(float(row["coverage"]), abs=1e-5)
    primary = literal_primary_categories(root)
    assert {n: data.categories[c.category] for n, c in data.concepts.items()} == primary


@pytest.mark.real
def test_real_rows_against_a_literal_reading(real_data: Path):
    root = real_data / "broden_sample_224"
    data = BrodenDataset(root, size=224)
    rows = table(root / "index.csv")
    for i in range(0, len(rows), 59):
        assert data.path_of(i) == rows[i]["image"]
        for k, name in enumerate(data.categories):
            if rows[i][name].endswith(".png"):
                png = io.imread(root / "images" / rows[i][name]).astype(int)
                (layer,) = data.segmentation(i).maps[k]
                np.testing.assert_array_equal(layer, png[:, :, 0] + 256 * png[:, :, 1])
        np.testing.assert_array_equal(data[i].image.permute(1, 2, 0), io.imread(root / "images" / rows[i]["image"]))
