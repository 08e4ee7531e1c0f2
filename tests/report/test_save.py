import csv
import hashlib
import io
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lightning_advinterp.analyses import Result
from lightning_advinterp.analyses.dissection.columns import DISSECTION
from lightning_advinterp.core.columns import columns_of
from lightning_advinterp.core.files import write_atomically, write_text
from lightning_advinterp.report import accuracy_bars, accuracy_table, save_results
from lightning_advinterp.report.panels import PanelRow, unit_panel
from lightning_advinterp.report.save import to_csv

ROW = {
    "images": "real",
    "n": 4,
    "top1": 0.75,
    "top1_low": 0.3,
    "top1_high": 0.95,
    "top5": 1.0,
    "top5_low": 0.5,
    "top5_high": 1.0,
    "eps": None,
}
ADVERSARIAL = ROW | {"images": "fgsm", "top1": 0.0, "top1_low": 0.0, "eps": 4 / 255}


def test_csv():
    text = to_csv([{"a": 1, "b": True, "c": 0.1 + 0.2}, {"a": None, "b": False, "c": float("nan"), "d": "x,y"}])
    assert text == 'a,b,c,d\n1,true,0.3,\n,false,,"x,y"\n'


def test_thresholds_are_read_back_as_they_are():
    values = np.random.default_rng(0).normal(size=200).astype(np.float32) ** 9
    rows = [{"threshold": value} for value in values.tolist()]
    written = to_csv(rows, columns_of(rows, DISSECTION[0].columns)).split()[1:]
    assert (np.array(written, np.float32) == values).all()


def test_saved_files(tmp_path):
    evil = "<script>alert(1)</script>"
    results = {
        "accuracy": Result(
            "accuracy",
            {"acc": 0.75, "odd": float("nan")},
            {"accuracy": [ROW, ADVERSARIAL | {"images": evil}]},
        )
    }
    save_results(tmp_path, results, {"accuracy": accuracy_bars([ROW, ADVERSARIAL])}, {"seed": 3})
    with (tmp_path / "accuracy.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["top1"] for row in rows] == ["0.75", "0"]
    assert [row["eps"] for row in rows] == ["", "0.0156863"]
    summary = json.loads((tmp_path / "results.json").read_text())
    files = summary.pop("files")
    assert list(files) == ["accuracy.csv", "figures/accuracy.png", "index.html"]
    assert files == {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in files}
    assert list(summary.pop("results")["accuracy"]["tables"]) == ["accuracy"]
    assert len(summary.pop("sha256")) == 64
    assert summary == {"scalars": {"accuracy": {"acc": 0.75, "odd": None}}, "provenance": {"seed": 3}}
    page = (tmp_path / "index.html").read_text()
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert 'data-figure="accuracy"' in page
    assert 'src="figures' not in page  # the page needs no other file
    assert (tmp_path / "figures" / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_pages_tables_have_the_columns_of_all_rows(tmp_path):
    """As the CSV: a row without a column has an empty cell there, not the next column's value."""
    rows = [{"images": "real", "lc": 0.5}, {"images": "fgsm", "cs1": 0.25, "lc": 0.5}, {"images": "pgd", "cs1": 1.0}]
    save_results(tmp_path, {"semantics": Result("semantics", tables={"semantics": rows})}, {}, {})
    page = (tmp_path / "index.html").read_text()
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.S)]
    assert cells == [["images", "lc", "cs1"], ["real", "0.5", ""], ["fgsm", "0.5", "0.25"], ["pgd", "", "1"]]


@pytest.mark.slow
def test_a_sheet_of_photographs_is_no_huge_file(tmp_path):
    """Eight units, real and under attack, eight pictures each, as noisy as photographs are; colours stay true."""
    smooth = np.random.default_rng(0).integers(0, 256, (8, 7, 7, 3), np.uint8).repeat(32, 1).repeat(32, 2)
    noise = np.random.default_rng(1).integers(-12, 13, smooth.shape)
    pictures = (smooth + noise).clip(0, 255).astype(np.uint8)
    dimmed = np.zeros(pictures.shape[:3], bool)
    rows = [PanelRow(f"unit {number}", np.roll(pictures, number, 0), dimmed) for number in range(16)]
    save_results(tmp_path, {}, {"units": unit_panel(rows)}, {})
    path = tmp_path / "figures" / "units.png"
    assert path.stat().st_size < 1.5e6
    with Image.open(path) as image:
        shown = np.asarray(image.convert("RGB").reduce(8), dtype=float)
    drawn = io.BytesIO()
    unit_panel(rows).savefig(drawn, dpi=150)
    with Image.open(drawn) as image:
        assert image.width / 10.5 > 90  # pixels of a picture, of which eight stand beside titles
        expected = np.asarray(image.convert("RGB").reduce(8), dtype=float)
    assert np.abs(shown - expected).mean() < 5


def test_figure_shows_every_kind():
    axes = accuracy_bars([ROW, ADVERSARIAL], "a title").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["real", "fgsm\nε = 4/255"]
    assert isinstance(axes.figure, Figure)
    assert {round(bar.get_height(), 6) for bar in axes.patches} == {75.0, 0.0, 100.0}


def test_table_lists_networks_side_by_side():
    table = accuracy_table({"ours": [ROW], "theirs": [ADVERSARIAL]})
    assert [column.header for column in table.columns][2:5:2] == [
        "ours\ntop-1 % [95 %]",
        "theirs\ntop-1 % [95 %]",
    ]
    assert list(table.columns[2].cells) == ["75.0 [30.0, 95.0]"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
