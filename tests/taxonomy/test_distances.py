"""Users' hierarchies and distances: what is none is refused in one line, and what plausibly works is taken."""

import io
import os

import numpy as np
import pytest

from lightning_advinterp.taxonomy.wordnet import class_distances

CLASSES = ("cat", "dog", "car")
SOUND = np.array([[0.0, 1, 4], [1, 0, 5], [4, 5, 0]])
HEAD = ",cat,dog,car\n"


def changed(place, value, mirrored=None):
    values = SOUND.copy()
    values[place] = value
    values[place[::-1]] = value if mirrored is None else mirrored
    return values


WRONG = {
    "NaN": (changed((0, 1), np.nan), "'cat' and 'dog'"),
    "negative": (changed((1, 2), -1.0), "'dog' and 'car' is -1"),
    "asymmetric": (changed((0, 2), 4.0, 4.5), "4 one way and 4.5 the other"),
    "a diagonal": (changed((1, 1), 2.0), "'dog' and 'dog'"),
    "infinite diagonal": (changed((1, 1), np.inf), "'dog' and 'dog'"),
    "infinite one way": (changed((0, 1), 1.0, np.inf), "'cat' and 'dog'"),
    "too few": (SOUND[:2, :2], "expected the distances of 3 classes"),
    "three axes": (SOUND[None], "expected the distances of 3 classes"),
    "complex": (SOUND.astype(complex), "complex128"),
    "objects": (SOUND.astype(object), "object"),
    "text": (SOUND.astype("U3"), "<U3"),
    "dates": (SOUND.astype("M8[s]"), "datetime64"),
    "fields": (SOUND.view([("a", "f8")]), "'a'"),
}


@pytest.mark.parametrize(("values", "message"), WRONG.values(), ids=WRONG)
def test_matrices_that_are_no_distances(tmp_path, values, message):
    np.save(tmp_path / "d.npy", values, allow_pickle=True)
    with pytest.raises(ValueError, match=r"d\.npy: .*" + message.replace("<", ".")) as refusal:
        class_distances(CLASSES, hierarchy=tmp_path / "d.npy")
    assert "\n" not in str(refusal.value)
    if values.dtype != object:
        with pytest.raises(ValueError, match=r"^hierarchy: "):
            class_distances(CLASSES, hierarchy=values)


def npy(**replaced):
    buffer = io.BytesIO()
    np.save(buffer, SOUND)
    data = buffer.getvalue()
    for old, new in replaced.items():
        data = data.replace(old.encode(), new.encode().ljust(len(old)))
    return data


FILES = {
    "empty": b"",
    "cut": npy()[:150],
    "no header": b"\x93NUMPY",
    "a huge shape": npy(**{"(3, 3)": "(9, 9)"}).replace(b"(9, 9), }    ", b"(99999999, 9)"),
    "a broken header": npy(**{"{": "("}),
    "an archive": b"PK\x03\x04",
    "a pickle": b"\x80\x04}.",
    "no UTF-8": b"\xff\xfe" * 100,
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_files_that_are_no_arrays(tmp_path, data):
    (tmp_path / "d.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"d\.npy: expected the distances of 3 classes"):
        class_distances(CLASSES, hierarchy=tmp_path / "d.npy")


TABLES = {
    "a row twice": HEAD + "cat,0,1,4\ncat,0,2,4\ndog,1,0,5\ncar,4,5,0\n",
    "a column twice": ",cat,dog,car,cat\ncat,0,1,4,0\ndog,1,0,5,1\ncar,4,5,0,4\n",
    "a comma in a number": HEAD + "cat,0,1,5,4\ndog,1,5,0,5\ncar,4,5,0\n",
    "a row missing": HEAD + "cat,0,1,4\ndog,1,0,5\n",
    "a number missing": HEAD + "cat,0,1,4\ndog,1,0,\ncar,4,5,0\n",
    "NaN": HEAD + "cat,0,nan,4\ndog,nan,0,5\ncar,4,5,0\n",
    "an underscore": HEAD + "cat,0,1,4\ndog,1,0,1_0\ncar,4,1_0,0\n",
    "nothing": "",
    "a long field": HEAD + "9" * 200_000,
    "a circle": "child,parent\ncat,a\na,b\nb,cat\ndog,a\ncar,a\n",
    "a child missing": "child,parent\ncat,a\n,a\n",
    "a field too many": "child,parent\ncat,a,b\n",
    "a class missing": "child,parent\ncat,a\ndog,a\n",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_tables_that_are_none(tmp_path, text):
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(ValueError, match=r"d\.csv") as refusal:
        class_distances(CLASSES, hierarchy=tmp_path / "d.csv")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["d.csv", "d.npy"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "latin1"])
def test_what_is_no_text_file(tmp_path, name, kind):
    path = tmp_path / name
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "latin1": lambda path: path.write_bytes(b",caf\xe9\n")}
    make[kind](path)
    with pytest.raises(ValueError, match=name):
        class_distances(CLASSES, hierarchy=path)


def test_what_plausibly_works_is_taken(tmp_path):
    rounded = SOUND + np.random.default_rng(0).normal(size=(3, 3)) * 1e-12
    even = class_distances(CLASSES, hierarchy=rounded).numpy()
    assert (even == even.T).all()
    assert even == pytest.approx(SOUND, abs=1e-11)
    np.save(tmp_path / "d.npy", SOUND.astype(np.int8))
    assert (class_distances(CLASSES, hierarchy=tmp_path / "d.npy").numpy() == SOUND).all()
    apart = changed((0, 2), np.inf)
    assert (class_distances(CLASSES, hierarchy=apart).numpy() == apart).all()
    (tmp_path / "d.csv").write_text(
        "\ufeff class , cat, dog, car, more\ncat, 0, 1, 4, 9\n\ndog,1,0,5,9\ncar,4,5,0,9\nmore,9,9,9,0\n"
    )
    assert (class_distances(CLASSES, hierarchy=tmp_path / "d.csv").numpy() == SOUND).all()
    (tmp_path / "d.csv").write_text("parent,child,source\nanimal,cat,me\nanimal,dog,me\n,animal,\n,car,me\n")
    links = class_distances(CLASSES, hierarchy=tmp_path / "d.csv").numpy()
    assert (links == [[0, 2, np.inf], [2, 0, np.inf], [np.inf, np.inf, 0]]).all()


@pytest.mark.parametrize(
    ("classes", "tree", "expected"),
    [
        (4, "nltk", 6),
        (4, "contracted", 4),
        (3, "contracted", 3),
    ],
)
def test_a_persian_cat_and_a_wolfhound(classes, tree, expected):
    """Fig. 3 of Dong et al. 2017 has 4: the tree of its own classes, where a second hound (Afghan) tells them apart."""
    tabby, persian, wolfhound, afghan = "n02123045", "n02123394", "n02090475", "n02088094"
    distances = class_distances([tabby, persian, wolfhound, afghan][:classes], tree)
    assert (distances[0, 1], distances[1, 2]) == (2, expected)


def test_a_deep_hierarchy_is_checked_at_once(tmp_path):
    rows = "".join(f"n{number},n{number + 1}\n" for number in range(50_000))
    (tmp_path / "d.csv").write_text("child,parent\n" + rows)
    assert class_distances(["n0", "n3"], hierarchy=tmp_path / "d.csv")[0, 1] == 3
