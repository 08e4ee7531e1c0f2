"""Results whose names hold anything: every file is written, inside its folder, and says the names as they are."""

import csv
import json
import os

import numpy as np
import pytest
from matplotlib.figure import Figure

from lightning_advinterp.analyses import Result
from lightning_advinterp.core.names import file_name
from lightning_advinterp.report import accuracy_bars, save_results
from lightning_advinterp.report.panels import PanelRow, unit_panel
from lightning_advinterp.report.plain import PlainWriter, plain_text

BYTES = b"caf\xe9".decode(errors="surrogateescape")
HOSTILE = ["$\\frac{$", "$x$", BYTES, "[red]x", "=1+1", "-1", "../up", "/etc/x", "\x1b[31m", "<b>&", "a\\b", "a#b?c%20"]
NUMBERS = {"n": 4, "top1": 0.75, "top1_low": 0.3, "top1_high": 0.95, "top5": 1.0, "top5_low": 0.5, "top5_high": 1.0}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_results_with_any_name_are_written(name, tmp_path):
    out = tmp_path / "a" / "out"
    rows = [
        {"images": name, "eps": None, name: -1.5, "unit": -1, "size": np.float32(-0.5), "rank": np.int64(-2)} | NUMBERS
    ]
    picture = PanelRow(name, np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 8), bool), [name])
    figures = {f"f_{name}": accuracy_bars(rows, name), "panel": unit_panel([picture], name)}
    legend = Figure()
    axes = legend.subplots()
    axes.plot([0, 1], label=name)
    axes.set_xticks([0, 1], [name, name])
    axes.set_xlabel(name)
    axes.legend()
    results = {
        name: Result(
            name, {name: 1.0}, {f"t_{name}": rows}, {name: np.zeros((2, 2), np.uint8), f"{name}2": np.zeros(3)}
        )
    }
    save_results(out, results, figures | {"legend": legend}, {"settings": {name: [name]}})

    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {path for path in out.rglob("*") if path.is_file()}
    assert len(written) == 8  # a table, three figures, a picture, an array, results.json, index.html
    (row,) = csv.DictReader((out / f"{file_name(f't_{name}')}.csv").read_text(encoding="utf-8").splitlines())
    assert not any(text.startswith(("=", "+", "@")) for text in [*row, *row.values()])
    assert [row[key] for key in ("unit", "size", "rank")] == ["-1", "-0.5", "-2"]
    json.loads((out / "results.json").read_text(encoding="utf-8"))
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<b>&<" not in page
    for path in written:
        os.fsencode(path).decode()


def test_a_figures_texts_are_drawn_as_they_are():
    drawn = Figure()
    axes = drawn.subplots()
    axes.set_title("$x$")
    axes.set_xticks([0, 1], ["$\\frac{$", BYTES])
    plain_text(drawn)
    drawn.canvas.draw()
    assert not axes.title.get_parse_math()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["$\\frac{$", "caf\\xe9"]


def test_powers_of_ten_are_numbers_where_formulas_are_not_parsed():
    figure = Figure()
    axes = figure.subplots()
    axes.loglog([1, 10, 1000], [0.01, 1, 100])
    plain_text(figure).canvas.draw()
    labels = [text.get_text() for axis in (axes.xaxis, axes.yaxis) for text in axis.get_ticklabels(which="both")]
    assert {"1", "1000", "0.01", "100"} <= set(labels)
    assert not any("$" in label for label in labels)


def test_tensorboard_gets_plain_figures_and_tags():
    calls = []

    class Writer:
        def add_figure(self, tag, figure, step, close):
            figure.canvas.draw()
            calls.append(tag)

        def add_text(self, tag, text, step):
            (tag + text).encode()
            calls.append(tag)

        def add_scalar(self, *args):
            calls.append("scalar")

    figure = Figure()
    figure.suptitle("$\\frac{$")
    writer = PlainWriter(Writer())
    writer.add_figure(f"panels/{BYTES}", figure, 1, close=False)
    writer.add_text(BYTES, f"| {BYTES} |", 1)
    writer.add_scalar("a", 1, 2)
    assert calls == ["panels/caf\\xe9", "caf\\xe9", "scalar"]
