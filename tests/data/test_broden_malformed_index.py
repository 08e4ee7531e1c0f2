"""Sets whose index.csv is wrong, or whose files are missing: the error names file, row and column, and no more."""

from pathlib import Path

import pytest
from broden_damage import add_column, change, check_opening, folder, remove, replace, write
from broden_sets import CATEGORIES, write_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


INDEX = {
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
        add_column("index.csv", "depth", ""),
        "index.csv, row 1, column depth",
        "is no category of category.csv (color, object, part, scene)",
    ),
    "column twice": (
        add_column("index.csv", "split", "val"),
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
    "label of another category": (
        replace("index.csv", "a/1_object.png,,700", "a/1_object.png,,302"),
        "index.csv, row 3, column scene",
        "label 302 is no scene by label.csv, which names part for it",
    ),
    "missing map": (
        remove("images/a/0_object.png"),
        "index.csv, row 2, column object",
        "cannot find 'images/a/0_object.png' (No such file or directory)",
    ),
    "empty map": (
        write("images/a/0_object.png", b""),
        "index.csv, row 2, column object",
        "'images/a/0_object.png' is empty (0 bytes)",
    ),
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
}


@pytest.mark.parametrize("name", INDEX)
def test_opening_names_what_is_wrong(name: str, root: Path):
    check_opening(root, *INDEX[name])
