"""Small sound sets, each damaged in one way: the error names file, row and column, and nothing else is reported."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from broden_sets import CATEGORIES, write_png, write_set
from PIL import Image

from lightning_advinterp.data.broden import BrodenDataset, BrodenError, check_set
from lightning_advinterp.data.broden.findings import SHOWN

Damage = Callable[[Path], object]
_MAP = "images/a/0_object.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def replace(file: str, old: str, new: str) -> Damage:
    """Replace a text that stands in the file once."""

    def damage(root: Path) -> None:
        text = (root / file).read_bytes().decode()
        assert text.count(old) == 1, f"{old!r} stands in {file} {text.count(old)} times"
        (root / file).write_bytes(text.replace(old, new).encode())

    return damage


def write(file: str, data: bytes) -> Damage:
    return lambda root: (root / file).write_bytes(data)


def cut(file: str, keep: float) -> Damage:
    def damage(root: Path) -> None:
        data = (root / file).read_bytes()
        (root / file).write_bytes(data[: int(keep * len(data))])

    return damage


def remove(file: str) -> Damage:
    return lambda root: (root / file).unlink()


def folder(file: str) -> Damage:
    def damage(root: Path) -> None:
        (root / file).unlink()
        (root / file).mkdir()

    return damage


def change(file: str, data: bytes, *, at: int) -> Damage:
    def damage(root: Path) -> None:
        new = bytearray((root / file).read_bytes())
        at_end = at % len(new)
        new[at_end : at_end + len(data)] = data
        (root / file).write_bytes(new)

    return damage


def save(file: str, image: Callable[[Image.Image], Image.Image], kind: str | None = None) -> Damage:
    """Replace an image file by what becomes of it."""

    def damage(root: Path) -> None:
        with Image.open(root / file) as old:
            new = image(old.copy())
        new.save(root / file, kind)

    return damage


def numbers(file: str, values: np.ndarray) -> Damage:
    return lambda root: write_png(root / file, values)


OPENING = {
    # index.csv: the table
    "empty index": (write("index.csv", b""), "index.csv, row 1", "is empty; expected a header with image, split"),
    "header alone": (
        write("index.csv", f"image,split,ih,iw,sh,sw,{','.join(CATEGORIES)}\n".encode()),
        "index.csv",
        "lists no image",
    ),
    "missing column": (
        replace("index.csv", "image,split,ih", "image,fold,ih"),
        "index.csv, row 1, column split",
        "is missing; the header has image, fold, ih, iw, sh, sw, color, object, part, scene",
    ),
    "missing category": (
        replace("category.csv", "color,", "colour,"),
        "index.csv, row 1, column colour",
        "is missing; the header has",
        "c_colour.csv: cannot be read (No such file or directory)",
        "label.csv, row 2, column category: 'color' is not in category.csv (colour, object, part, scene)",
        "label.csv, row 3, column category: 'color' is not in category.csv (colour, object, part, scene)",
    ),
    "column of no category": (
        lambda root: (root / "index.csv").write_text(
            "\n".join(
                line + (",depth" if k == 0 else ",")
                for k, line in enumerate((root / "index.csv").read_text().splitlines())
            )
        ),
        "index.csv, row 1, column depth",
        "is no category of category.csv (color, object, part, scene)",
    ),
    "column twice": (
        lambda root: (root / "index.csv").write_text(
            "\n".join(
                line + (",split" if k == 0 else ",val")
                for k, line in enumerate((root / "index.csv").read_text().splitlines())
            )
        ),
        "index.csv, row 1, column split",
        "stands in the header twice",
    ),
    "short row": (
        replace("index.csv", "b/3.png,val,16,16,8,8,,,,65535", "b/3.png,val,16,16,8,8,65535"),
        "index.csv, row 5",
        "expected 10 fields as in the header, got 7",
    ),
    "open quote": (replace("index.csv", "b/3.png,val", '"b/3.png,val'), "index.csv, row 6", "is not CSV"),
    "not UTF-8": (
        change("index.csv", b"\xff", at=45),
        "index.csv, row 1",
        "byte 0xff is not UTF-8; save the table as UTF-8",
    ),
    # index.csv: images
    "missing image": (
        remove("images/b/3.png"),
        "index.csv, row 5, column image",
        "cannot find 'images/b/3.png' (No such file or directory)",
    ),
    "empty image": (write("images/b/3.png", b""), "index.csv, row 5, column image", "is empty (0 bytes)"),
    "folder for an image": (folder("images/b/3.png"), "index.csv, row 5, column image", "'images/b/3.png' is no file"),
    "duplicate row": (
        replace("index.csv", "b/3.png,val", "b/2.png,val"),
        "index.csv, row 5, column image",
        "'b/2.png' stands in row 4 already",
    ),
    "no path": (replace("index.csv", "b/3.png,", ","), "index.csv, row 5, column image", "is empty; expected a path"),
    "path that leaves": (
        replace("index.csv", "b/3.png", "../../3.png"),
        "index.csv, row 5, column image",
        "'../../3.png' leaves the folder images/",
    ),
    "absolute path": (
        replace("index.csv", "b/3.png", "/etc/passwd"),
        "index.csv, row 5, column image",
        "'/etc/passwd' leaves the folder images/",
    ),
    "drive": (replace("index.csv", "b/3.png", "C:/3.png"), "index.csv, row 5, column image", "leaves the folder"),
    "backslash": (
        replace("index.csv", "b/3.png", "..\\3.png"),
        "index.csv, row 5, column image",
        "holds a NUL or a backslash",
    ),
    "roundabout path": (
        replace("index.csv", "b/3.png", "b/./3.png"),
        "index.csv, row 5, column image",
        "has an empty part or a '.'",
    ),
    # index.csv: numbers
    "unknown split": (
        replace("index.csv", "b/3.png,val", "b/3.png,dev"),
        "index.csv, row 5, column split",
        "expected one of train, val, test, got 'dev'",
    ),
    "size in words": (
        replace("index.csv", "val,20,16", "val,twenty,16"),
        "index.csv, row 4, column ih",
        "expected a number of pixels from 1, got 'twenty'",
    ),
    "negative size": (replace("index.csv", "val,20,16", "val,20,-16"), "index.csv, row 4, column iw", "got '-16'"),
    "broken size": (replace("index.csv", "20,16,8,8", "20,16,8.0,8"), "index.csv, row 4, column sh", "got '8.0'"),
    "size of zero": (replace("index.csv", "20,16,8,8", "20,16,8,0"), "index.csv, row 4, column sw", "got '0'"),
    "another map size": (
        replace("index.csv", "20,16,8,8", "20,16,10,8"),
        "index.csv, row 4, column sh, sw",
        "got 10 x 8, but row 2 has 8 x 8; all maps have one size",
    ),
    # index.csv: labels
    "unknown label": (
        replace("index.csv", "302;b/2_part.png", "303;b/2_part.png"),
        "index.csv, row 4, column part",
        "label 303 is not in label.csv",
    ),
    "missing map": (
        remove(_MAP),
        "index.csv, row 2, column object",
        "cannot find 'images/a/0_object.png' (No such file or directory)",
    ),
    "empty map": (write(_MAP, b""), "index.csv, row 2, column object", "'images/a/0_object.png' is empty (0 bytes)"),
    "map that leaves": (
        replace("index.csv", "a/0_object.png", "a/../../../0_object.png"),
        "index.csv, row 2, column object",
        "leaves the folder images/",
    ),
    "map twice": (
        replace("index.csv", "a/0_part_2.png", "a/0_part_1.png"),
        "index.csv, row 2, column part",
        "'a/0_part_1.png' stands in the cell twice",
        "index.csv, row 2, column part: 'a/0_part_1.png' stands in the cell twice",
    ),
    "no integer": (
        replace("index.csv", "a/1_object.png,,700", "a/1_object.png,,700.0"),
        "index.csv, row 3, column scene",
        "expected label numbers and paths of .png maps, separated by ';', got '700.0' in '700.0'",
    ),
    "negative label": (
        replace("index.csv", "a/1_object.png,,700", "a/1_object.png,,-700"),
        "index.csv, row 3, column scene",
        "got '-700'",
    ),
    "name for a number": (
        replace("index.csv", "a/1_object.png,,700", "a/1_object.png,,street-s"),
        "index.csv, row 3, column scene",
        "got 'street-s'",
    ),
    "gap between separators": (
        replace("index.csv", "302;b/2_part.png", "302;;b/2_part.png"),
        "index.csv, row 4, column part",
        "got '' in '302;;b/2_part.png'",
    ),
    # label.csv
    "no label.csv": (
        remove("label.csv"),
        "label.csv",
        "cannot be read (No such file or directory); every set has this",
    ),
    "label number in words": (
        replace("label.csv", "302,wheel", "many,wheel"),
        "label.csv, row 6, column number",
        "expected a label number from 1 to 65535, got 'many'",
        "c_part.csv, row 3, column number: label 302 is not in label.csv",
        "index.csv, row 4, column part: label 302 is not in label.csv",
    ),
    "label number too large": (
        replace("label.csv", "65535,last-s", "65536,last-s"),
        "label.csv, row 8, column number",
        "expected a label number from 1 to 65535, got '65536'",
        "c_scene.csv, row 3, column number: label 65535 is not in label.csv",
        "index.csv, row 4, column scene: label 65535 is not in label.csv",
        "index.csv, row 5, column scene: label 65535 is not in label.csv",
    ),
    "label twice": (
        replace("label.csv", "302,wheel", "301,wheel"),
        "label.csv, row 6, column number",
        "label 301 stands in row 5 already; label numbers must be unique",
        "c_part.csv, row 3, column number: label 302 is not in label.csv",
        "index.csv, row 4, column part: label 302 is not in label.csv",
    ),
    "label without a name": (
        replace("label.csv", "302,wheel", "302,"),
        "label.csv, row 6, column name",
        "label 302 has no name",
    ),
    "unknown category": (
        replace("label.csv", "scene(2)", "place(2)"),
        "label.csv, row 7, column category",
        "'place' is not in category.csv (color, object, part, scene)",
    ),
    "category without a count": (
        replace("label.csv", "scene(2)", "scene"),
        "label.csv, row 7, column category",
        "expected category(images), several separated by ';', got 'scene'",
    ),
    "category without a table row": (
        replace("label.csv", "scene(2)", "scene(2);object(1)"),
        "label.csv, row 7, column category",
        "names 'object', but c_object.csv does not list label 700",
    ),
    # category.csv and c_*.csv
    "no category.csv": (remove("category.csv"), "category.csv", "cannot be read", "label.csv, row 2, column category"),
    "no categories": (
        write("category.csv", b"name,first,last,count,frequency\n"),
        "category.csv",
        "lists no category",
        "label.csv, row 2, column category: 'color' is not in category.csv (none)",
    ),
    "category twice": (
        replace("category.csv", "object,300", "color,300"),
        "category.csv, row 3, column name",
        "'color' stands in row 2 already",
        "label.csv, row 4, column category: 'object' is not in category.csv (color, part, scene)",
    ),
    "category that is a path": (
        replace("category.csv", "object,300", "../object,300"),
        "category.csv, row 3, column name",
        "expected a name of letters, digits, - and _, got '../object'",
        "label.csv, row 4, column category: 'object' is not in category.csv (color, part, scene)",
    ),
    "no coverage table": (remove("c_part.csv"), "c_part.csv", "cannot be read (No such file or directory)"),
    "coverage in words": (
        replace("c_part.csv", ",0.5\r\n2,", ",half\r\n2,"),
        "c_part.csv, row 2, column coverage",
        "expected a number of images, got 'half'",
    ),
    "coverage that is no number": (
        replace("c_part.csv", ",0.5\r\n2,", ",nan\r\n2,"),
        "c_part.csv, row 2, column coverage",
        "expected a number of images, got 'nan'",
    ),
    "coverage twice": (
        replace("c_part.csv", "2,302,wheel", "2,301,wheel"),
        "c_part.csv, row 3, column number",
        "label 301 stands in row 2 already",
        "label.csv, row 6, column category: names 'part', but c_part.csv does not list label 302",
    ),
    "coverage of an unknown label": (
        replace("c_part.csv", "2,302,", "2,9,"),
        "c_part.csv, row 3, column number",
        "label 9 is not in label.csv",
        "label.csv, row 6, column category: names 'part', but c_part.csv does not list label 302",
    ),
}

_SIZE = "expected 8 x 8 (columns sh, sw)"
THOROUGH = {
    "truncated map": (cut(_MAP, 0.8), "index.csv, row 2, column object", "'images/a/0_object.png' cannot be read"),
    "damaged map": (change(_MAP, b"\0\0\0\0", at=50), "index.csv, row 2, column object", "cannot be read"),
    "map without an end": (cut(_MAP, 0.97), "index.csv, row 2, column object", "cannot be read"),
    "map with a wrong check sum": (
        change(_MAP, b"\0\0\0\0", at=-16),
        "index.csv, row 2, column object",
        "cannot be read",
    ),
    "map that is no image": (write(_MAP, b"hello"), "index.csv, row 2, column object", "cannot identify image file"),
    "map of another size": (
        save(_MAP, lambda image: image.resize((8, 9), Image.Resampling.NEAREST)),
        "index.csv, row 2, column object",
        f"'images/a/0_object.png' is 9 x 8, {_SIZE}",
    ),
    "transposed map of another size": (
        save("images/b/2_part.png", lambda image: image.crop((0, 0, 4, 8))),
        "index.csv, row 4, column part",
        f"'images/b/2_part.png' is 8 x 4, {_SIZE}",
    ),
    "grey map": (
        save(_MAP, lambda image: image.convert("L")),
        "index.csv, row 2, column object",
        "expected a label map, an 8-bit RGB PNG (number = red + 256 · green), got PNG of mode L",
    ),
    "16-bit map": (
        save(_MAP, lambda image: Image.fromarray(np.full((8, 8), 300, np.uint16))),
        "index.csv, row 2, column object",
        "got PNG of mode I;16",
    ),
    "JPEG for a map": (
        save(_MAP, lambda image: image, "JPEG"),
        "index.csv, row 2, column object",
        "got JPEG of mode RGB",
    ),
    "unknown numbers in a map": (
        numbers(_MAP, np.array([[7, 299] * 4, [300] * 8] * 4)),
        "index.csv, row 2, column object",
        "'images/a/0_object.png' holds numbers that are not in label.csv: 7, 299",
    ),
    "truncated image": (
        cut("images/a/1.jpg", 0.9),
        "index.csv, row 3, column image",
        "'images/a/1.jpg' cannot be read",
    ),
    "text for an image": (
        write("images/a/1.jpg", b"not found"),
        "index.csv, row 3, column image",
        "'images/a/1.jpg' cannot be read: cannot identify image file",
    ),
    "image of another size": (
        replace("index.csv", "b/2.png,val,20,16", "b/2.png,val,16,20"),
        "index.csv, row 4, column image",
        "'images/b/2.png' is 20 x 16, expected 16 x 20 (columns ih, iw)",
    ),
}
UNSEEN = {"image of another size", "map without an end", "map with a wrong check sum"}
"""What only the thorough check finds: the pixels can be read all the same."""


def raised(call: Callable[[], object]) -> BrodenError:
    with pytest.raises(BrodenError) as caught:
        call()
    return caught.value


def check_findings(error: BrodenError, where: str, what: str, others: tuple[str, ...]) -> None:
    first = [
        str(finding) for finding in error.findings if str(finding).startswith(f"{where}: ") and what in str(finding)
    ]
    assert first, error
    assert f"{error.count} finding" in str(error)
    assert all(f"  {finding}" in str(error).splitlines() for finding in error.findings)
    for text in others:
        assert any(str(finding).startswith(text) for finding in error.findings), error


@pytest.mark.parametrize("name", OPENING)
def test_opening_names_what_is_wrong(name: str, root: Path):
    damage, where, what, *others = OPENING[name]
    BrodenDataset(root, size=16)
    damage(root)
    error = raised(lambda: BrodenDataset(root, size=16))
    check_findings(error, where, what, tuple(others))
    if not others:  # one damage is one finding, unless something else hangs on it
        assert error.count == 1, error


@pytest.mark.parametrize("name", THOROUGH)
def test_the_thorough_check_decodes(name: str, root: Path):
    damage, where, what = THOROUGH[name]
    assert len(check_set(root)) == 5
    damage(root)
    data = BrodenDataset(root, size=16)  # these damages cannot be seen without decoding
    error = raised(lambda: check_set(root))
    check_findings(error, where, what, ())
    assert error.count == 1
    row = int(re.search(r"row (\d)", where)[1]) - 2
    if name not in UNSEEN:
        said = raised(lambda: (data[row], data.segmentation(row)))  # reading says the same
        assert str(said) == str(error.findings[0])


def test_there_are_many_damages():
    assert len(OPENING) + len(THOROUGH) >= 30


def test_all_findings_at_once(root: Path):
    for damage in (remove("images/b/3.png"), remove("c_part.csv"), replace("index.csv", "a/1.jpg,train", "a/1.jpg,x")):
        damage(root)
    error = raised(lambda: BrodenDataset(root, size=16))
    assert error.count == 3
    assert {(finding.file, finding.row, finding.column) for finding in error.findings} == {
        ("c_part.csv", None, None),
        ("index.csv", 5, "image"),
        ("index.csv", 3, "split"),
    }


def test_a_long_list_is_capped_and_counted(root: Path):
    rows = "".join(f"c/{k}.png,train,16,16,8,8,,,,\r\n" for k in range(1500))
    (root / "index.csv").write_text((root / "index.csv").read_text() + rows)
    error = raised(lambda: BrodenDataset(root, size=16))
    assert (error.count, len(error.findings)) == (1500, 1000)
    lines = str(error).splitlines()
    assert len(lines) == SHOWN + 2
    assert lines[0].endswith("cannot be used as a set in Broden's format: 1500 findings")
    assert lines[-1] == "  … and 1480 more"


def test_no_set_at_all(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"found nothing at .*script/dlbroden.sh.*concept world"):
        BrodenDataset(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="found a file at"):
        BrodenDataset(tmp_path / "file")
    write_set(tmp_path / "dataset" / "broden1_224")
    with pytest.raises(FileNotFoundError, match=r"no index.csv in .*Did you mean '.*dataset/broden1_224'\?"):
        BrodenDataset(tmp_path / "dataset")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_table(root: Path):
    (root / "label.csv").chmod(0)
    error = raised(lambda: BrodenDataset(root, size=16))
    check_findings(error, "label.csv", "cannot be read (Permission denied)", ())
