"""What an evaluation stored is read back as it was, and its figures are drawn anew from the folder alone."""

import io
import json

import numpy as np
import pytest
import torch
from declared import undeclared
from PIL import Image

import lightning_advinterp
from lightning_advinterp import evaluate, load_results
from lightning_advinterp.ablation.measures import read_scalars
from lightning_advinterp.analyses.registry import QUESTIONS, complete_settings
from lightning_advinterp.core.columns import Column, TableSpec
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.result import Result, described
from lightning_advinterp.report.load import listed
from lightning_advinterp.report.save import draw, save_results
from lightning_advinterp.report.store import read_record

ROWS = [
    {"image": "=a.jpg", "n": 1, "right": True, "share": 0.25, "label": "7", "mixed": 1, "gone": None},
    {"image": "b, c", "n": 2, "right": False, "share": float("nan"), "label": "x", "mixed": 0.5, "gone": None},
]


def stored(folder, **changes):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    values = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    result = Result("q", {"q/a": 0.5, "q/b": float("nan")}, {"q": ROWS, "none": []}, {"q-1": picture, "q-v": values})
    save_results(folder, {"q": result}, {}, {}, more={"analyses": {"q": {"results": ["q"], "files": []}}} | changes)
    return result


def test_tables_scalars_and_arrays_come_back(tmp_path):
    result = stored(tmp_path)
    loaded = load_results(tmp_path)["q"]
    assert loaded.tables["none"] == []
    assert loaded.scalars["q/a"] == 0.5
    assert np.isnan(loaded.scalars["q/b"])
    for row, before in zip(loaded.tables["q"], ROWS, strict=True):
        expected = {key: None if value != value else value for key, value in before.items()}
        assert row == expected
        assert all(type(row[key]) is type(expected[key]) for key in row if key != "mixed")
    for key, array in result.arrays.items():
        assert loaded.arrays[key].dtype == array.dtype
        assert np.array_equal(loaded.arrays[key], array)


def test_kinds_of_columns():
    columns = listed(Result("q", tables={"q": ROWS}))["tables"]["q"]
    assert {name: entry["kind"] for name, entry in columns.items()} == {
        **{"image": "text", "n": "integer", "right": "truth", "share": "number"},
        **{"label": "text", "mixed": "number", "gone": "missing"},
    }


def test_declared_columns_come_back(tmp_path):
    share = Column("share", "of all", "share", ".3g")
    described_result = described(stored(tmp_path), (TableSpec("q", "an image", (share, Column("m{rest}", "mixed"))),))
    save_results(tmp_path, {"q": described_result}, {}, {}, more={"analyses": {"q": {"results": ["q"], "files": []}}})
    columns = load_results(tmp_path)["q"].columns["q"]
    assert columns == {"share": share, "mixed": Column("mixed", "mixed")}
    entry = json.loads((tmp_path / "results.json").read_text())["results"]["q"]["tables"]["q"]
    assert entry["share"] == {"kind": "number", "meaning": "of all", "unit": "share", "format": ".3g"}
    assert entry["n"] == {"kind": "integer"}


def test_what_is_no_evaluation_or_was_changed_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no evaluation here"):
        load_results(tmp_path)
    stored(tmp_path)
    (tmp_path / "q.csv").write_text("image,n\n")
    with pytest.raises(DamagedFileError, match=r"q.csv is missing or is not what was written; evaluate anew"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_text('{"scalars": {}}')
    with pytest.raises(DamagedFileError, match="lists no results"):
        load_results(tmp_path)


def test_a_number_that_was_edited_in_the_record_is_noticed(tmp_path):
    stored(tmp_path)
    record = (tmp_path / "results.json").read_text()
    assert '"q/a": 0.5' in record
    (tmp_path / "results.json").write_text(record.replace('"q/a": 0.5', '"q/a": 0.9'))
    with pytest.raises(DamagedFileError, match=r"results.json is not what was written; evaluate anew"):
        load_results(tmp_path)
    with pytest.raises(DamagedFileError, match="is not what was written"):
        read_scalars(tmp_path)
    assert read_record(tmp_path) == {}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Every question that has figures, asked of a network with random weights about few pictures."""
    folder = tmp_path_factory.mktemp("evaluation")
    torch.manual_seed(1)  # of the weights, so that attacks reach their goal on some images whatever ran before
    settings = {
        "analyses": "accuracy,dissection,semantics,distances,panels,curvature,fragility,influence",
        **{"network": "helpers.SmallBackbone", "num_classes": 12, "crop": 16, "limit": 48, "data": "concept_world"},
        **{"concepts": "concept_world", "layers": "relu1,relu2", "output": str(folder / "out"), "quiet": True},
        "figures": "pdf",
        "dissection": {"quantile": 0.95, "groups": 4, "replicates": 5, "units": 2},
        "semantics": {"share": 0.2},
        "panels": {"count": 1, "images": 2},
        "patches": {"count": 1, "limit": 2},
        "curvature": {"limit": 2},
        "influence": {"classes": 2, "training": 16, "test": 6, "steps": 1, "top": 2, "overlap": 2},
    }
    return evaluate(**settings), folder / "out"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.slow
def test_figures_drawn_from_the_folder_are_those_that_were_stored(evaluation):
    results, folder = evaluation
    questions = complete_settings({})
    record = json.loads((folder / "results.json").read_text())
    questions |= {name: type(questions[name])(**record["provenance"]["settings"].get(name, {})) for name in ("panels",)}
    drawn = {}
    for name, result in load_results(folder).items():
        for figure_name, figure in questions[name].figures(result, "helpers.SmallBackbone").items():
            drawn[figure_name] = io.BytesIO()
            draw(figure, drawn[figure_name])
    stored_names = {path.stem for path in (folder / "figures").iterdir()}
    assert stored_names == set(drawn)
    printed = {path.stem: path.read_bytes() for path in (folder / "figures").glob("*.pdf")}
    assert set(printed) == stored_names
    assert all(b"/FontFile2" in content and b"/Type3" not in content for content in printed.values())
    assert {"accuracy", "dissection", "dissection_units", "semantics_depth", "panels_relu2"} <= stored_names
    for name, file in drawn.items():
        paths = (folder / "figures" / f"{name}.png", file)
        before, after = (np.asarray(Image.open(path).convert("RGB"), int) for path in paths)
        assert before.shape == after.shape, name
        assert np.mean(np.abs(before - after) > 24) < 1e-3, name  # six digits may move a line by a part of a pixel
    assert results.keys() == load_results(folder).keys()


@pytest.mark.slow
def test_what_is_missing_is_none_when_read_back(evaluation):
    tables = [rows for result in evaluation[0].values() for rows in result.tables.values()]
    values = [value for rows in tables for row in rows for value in row.values()]
    assert None in values
    assert not any(value != value for value in values)


@pytest.mark.slow
def test_every_column_is_declared_and_every_declared_one_is_there(evaluation):
    results, folder = evaluation
    assert undeclared(folder, *results) == []
    for name, result in results.items():
        for table in QUESTIONS[name].tables:
            assert table.when or result.tables[table.name], table.name
        for table, rows in result.tables.items():
            assert list(result.columns[table]) == list(dict.fromkeys(key for row in rows for key in row)), table


def test_the_stable_interface():
    for name in lightning_advinterp.__all__:
        assert getattr(lightning_advinterp, name) is not None
    assert set(lightning_advinterp._HOMES) == set(lightning_advinterp.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = lightning_advinterp.nothing
