"""Sets whose vocabulary is wrong: the error names file, row and column, and what else hangs on it."""

from pathlib import Path

import pytest
from broden_damage import check_opening, remove, replace, write
from broden_sets import write_set

from lightning_advinterp.data.broden import BrodenDataset, check_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


TABLES = {
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
    "coverage of a label of another category": (
        replace("c_color.csv", "2,2,blue-c,5,2.5", "2,2,blue-c,5,2.5\r\n3,300,car,4,2.0"),
        "c_color.csv, row 4, column number",
        "label 300 is listed, but label.csv does not name 'color' for it",
    ),
    "coverage table cut to its header": (
        write("c_part.csv", b"code,number,name,frequency,coverage\r\n"),
        "c_part.csv",
        "lists no label, but label.csv names 'part' for label 301",
    ),
    "name of two labels": (
        replace("label.csv", "302,wheel", "302,door"),
        "label.csv, row 6, column name",
        "'door' is label 301 of 'part' in row 5 already; give label 302 another name",
    ),
}


def test_one_name_may_be_two_labels_of_two_categories(root: Path):
    """The concept world's sky is a material and an object, with a number each."""
    replace("label.csv", "302,wheel", "302,car")(root)
    assert BrodenDataset(root, size=16).concepts[302].name == "car"


def test_a_category_may_have_no_labels(root: Path):
    """As the writer leaves it: a table without rows, which no label asks for."""
    replace("label.csv", "part(3);object(1)", "object(1)")(root)
    replace("label.csv", "\r\n302,wheel,part(3),3,0.5,", "")(root)
    write("c_part.csv", b"code,number,name,frequency,coverage\r\n")(root)
    replace("index.csv", "302;b/2_part.png", "")(root)
    replace("index.csv", "a/0_part_1.png;a/0_part_2.png", "")(root)
    assert len(check_set(root)) == 5


@pytest.mark.parametrize("name", TABLES)
def test_opening_names_what_is_wrong(name: str, root: Path):
    check_opening(root, *TABLES[name])
