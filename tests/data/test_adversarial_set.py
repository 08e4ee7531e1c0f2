"""A set of adversarial images is verified as a whole: whatever is changed in its folder shows, in words."""

import json
import os
import zipfile

import pytest
import torch

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.data.adversarial_parts import images_path, rows_path
from lightning_advinterp.data.adversarial_set import AdversarialRow, AdversarialSet, AdversarialSetWriter, Manifest
from lightning_advinterp.data.decode import BadImageError

MANIFEST = Manifest("fgsm", 0, {"weights_sha256": "0" * 64}, "abc", 5, 2, (3, 6, 6))


def rows_of(items):
    return [AdversarialRow(item, item, item % 3, 1, 1, True, 0.03, 0.5) for item in items]


@pytest.fixture
def folder(tmp_path):
    """Three parts of 2, 2 and 1 images."""
    images = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    writer = AdversarialSetWriter(tmp_path / "set", MANIFEST)
    for part in range(3):
        items = list(MANIFEST.items_of(part))
        writer.write(part, images[items], rows_of(items))
    return tmp_path / "set"


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edited(change):
    return lambda folder: edit(rows_path(folder, 0), lambda content: change(content["rows"]))


def manifest(**entries):
    return lambda folder: edit(folder / "manifest.json", lambda content: content.update(entries))


def exchange(folder):
    for path in (images_path, rows_path):
        first, second = path(folder, 0).read_bytes(), path(folder, 1).read_bytes()
        path(folder, 0).write_bytes(second)
        path(folder, 1).write_bytes(first)


CHANGES = {
    "a row dropped": edited(lambda rows: rows.pop()),
    "a row doubled": edited(lambda rows: rows.append(rows[-1])),
    "rows exchanged": edited(lambda rows: rows.reverse()),
    "a number edited": edited(lambda rows: rows[0].update(linf=0.02)),
    "a label edited": edited(lambda rows: rows[0].update(label=2)),
    "success edited": edited(lambda rows: rows[0].update(success=False)),
    "an item that travels": edited(lambda rows: rows[0].update(item="../../secret")),
    "a column dropped": edited(lambda rows: rows[0].pop("l2")),
    "a column added": edited(lambda rows: rows[0].update(x=1)),
    "rows that are none": lambda folder: edit(rows_path(folder, 0), lambda content: content.update(rows=3)),
    "a checksum edited": lambda folder: edit(rows_path(folder, 0), lambda content: content.update(sha256="0" * 64)),
    "no seal": lambda folder: edit(rows_path(folder, 0), lambda content: content.pop("seal")),
    "a list": lambda folder: rows_path(folder, 0).write_text("[]"),
    "no JSON": lambda folder: rows_path(folder, 0).write_text("{"),
    "no UTF-8": lambda folder: rows_path(folder, 0).write_bytes(b"\xff\xfe"),
    "a folder": lambda folder: (rows_path(folder, 0).unlink(), rows_path(folder, 0).mkdir()),
    "a pipe": lambda folder: (rows_path(folder, 0).unlink(), os.mkfifo(rows_path(folder, 0))),
    "parts exchanged": exchange,
    "a stray part": lambda folder: rows_path(folder, 7).write_text("{}"),
    "stray images": lambda folder: images_path(folder, 99999).write_text(""),
    "a copy": lambda folder: (folder / "part-00001-copy.json").write_text("{}"),
    "another spelling": lambda folder: rows_path(folder, 0).rename(folder / "part-0000000.json"),
    "the seed edited": manifest(seed=1),
    "the count edited": manifest(items=4),
    "a huge count": manifest(items=10**30),
    "parts of nothing": manifest(part=0),
    "another format": manifest(format=7),
    "no manifest": lambda folder: (folder / "manifest.json").write_text("null"),
    "another shape": manifest(shape=[3, 6]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_changed_is_refused_by_readers_and_by_writers(folder, change):
    before = set(folder.parent.iterdir())
    change(folder)
    with pytest.raises(DamagedFileError, match=str(folder)):
        AdversarialSet(folder).verify()
    with pytest.raises(ValueError, match=str(folder)):
        AdversarialSetWriter(folder, MANIFEST)
    assert set(folder.parent.iterdir()) == before


def test_an_open_set_notices_what_changes_under_it(folder):
    data = AdversarialSet(folder)
    CHANGES["a number edited"](folder)
    with pytest.raises(DamagedFileError, match=r"part-00000\.json was changed"):
        data.verify()


def test_a_part_that_was_dropped_is_told(folder, caplog):
    rows_path(folder, 1).unlink()
    data = AdversarialSet(folder)
    assert (len(data), data.missing()) == (3, [1])
    assert "3 of the set's 5 images are there" in caplog.text
    assert [row.item for row in data.rows] == [0, 1, 4]
    assert AdversarialSetWriter(folder, MANIFEST).missing() == [1]


def test_sound_sets_are_read(folder):
    data = AdversarialSet(folder)
    assert data.rows == rows_of(range(5))
    assert (data.verify(), data.missing()) == ([], [])
    assert data[4].image.shape == (3, 6, 6)


def before_format_3(content):
    for name in ("sha256", "settings", "pixels"):
        content.pop(name)


def test_a_set_of_the_first_format_is_read(folder):
    """It has no seals; its rows are held against the manifest."""
    edit(folder / "manifest.json", lambda content: (before_format_3(content), content.update(format=1)))
    for part in range(3):
        edit(rows_path(folder, part), lambda content: content.pop("seal"))
    assert AdversarialSet(folder).verify() == []
    with pytest.raises(ValueError, match="earlier version"):
        AdversarialSetWriter(folder, MANIFEST)
    edit(rows_path(folder, 0), lambda content: content["rows"].pop())
    with pytest.raises(DamagedFileError, match="one row of each of the items 0 to 1"):
        AdversarialSet(folder)


def rezip(folder, name, data):
    with zipfile.ZipFile(images_path(folder, 0), "w") as archive:
        archive.writestr(name, data)


IMAGES = {
    "missing": lambda folder: images_path(folder, 0).unlink(),
    "cut": lambda folder: images_path(folder, 0).write_bytes(images_path(folder, 0).read_bytes()[:300]),
    "another name": lambda folder: rezip(folder, "../0.png", b"x"),
    "no picture": lambda folder: rezip(folder, "0.png", b"x"),
    "an EPS": lambda folder: rezip(
        folder, "0.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\n"
    ),
    "of another part": lambda folder: images_path(folder, 0).write_bytes(images_path(folder, 1).read_bytes()),
}


@pytest.mark.parametrize("change", IMAGES.values(), ids=IMAGES)
def test_images_that_are_not_what_was_written(folder, change):
    change(folder)
    data = AdversarialSet(folder)
    assert data.verify() == ["part-00000.zip"]
    with pytest.raises(BadImageError, match=r"part-00000\.zip: cannot read 0\.png"):
        data[0]
