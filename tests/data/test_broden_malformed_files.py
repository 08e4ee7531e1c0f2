"""Sets whose images and maps are damaged, and how findings are told: all at once, in a list that is capped."""

import errno
import re
from pathlib import Path

import numpy as np
import pytest
from broden_damage import change, check_findings, cut, numbers, raised, remove, replace, save, write
from broden_sets import write_set
from PIL import Image

from lightning_advinterp.data.broden import BrodenDataset, check_set
from lightning_advinterp.data.broden.findings import SHOWN

_MAP = "images/a/0_object.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


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
    "map of another category": (
        replace("index.csv", "302;b/2_part.png", "302;a/1_object.png"),
        "index.csv, row 4, column part",
        "'images/a/1_object.png' holds numbers that are no part by label.csv: 300",
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
        error_of_reading = raised(lambda: (data[row], data.segmentation(row)))  # reading says the same
        assert str(error_of_reading) == str(error.findings[0])


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


def test_unreadable_table(root: Path, monkeypatch):
    """Root may read every file, so the refusal is put in by hand."""

    def refused(path, *args, **kwargs):
        if path.name == "label.csv":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read_bytes(path, *args, **kwargs)

    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", refused)
    error = raised(lambda: BrodenDataset(root, size=16))
    check_findings(error, "label.csv", "cannot be read (Permission denied)", ())
