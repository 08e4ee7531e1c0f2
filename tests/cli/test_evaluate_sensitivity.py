"""Sensitivity on the command line: where its dissection comes from, and what it writes."""

import json
from shutil import copytree

import pytest
from declared import undeclared
from unit_evaluations import run, tables

from lightning_advinterp import load_results
from lightning_advinterp.analyses.registry import QUESTIONS


@pytest.fixture(scope="module")
def dissected(inputs, tmp_path_factory):
    """An evaluation of both questions, and its folder."""
    folder = tmp_path_factory.mktemp("both") / "out"
    texts = run(inputs, folder, "sensitivity,dissection", "--concepts", str(inputs / "broden"), "--layers", "layer3")
    return folder, texts


@pytest.mark.slow
def test_files_and_columns_are_the_contract(dissected):
    folder, texts = dissected
    header = (folder / "sensitivity.csv").read_text().splitlines()[0]
    assert header.startswith("layer,unit,images,change,change_sd,iou,label,category,")
    assert {"sensitivity", "sensitivity_layers", "sensitivity_classes", "sensitivity_test"} <= set(texts)
    assert undeclared(folder, "sensitivity", "dissection") == []
    assert (folder / "figures" / "sensitivity.png").exists()
    assert (folder / "figures" / "sensitivity_test.png").exists()
    kinds = list(dict.fromkeys(row["images"] for row in rows_of(folder, "sensitivity")))
    assert kinds == ["fgsm", "fgsm~noise_linf", "fgsm~noise_l2"]


def rows_of(folder, table):
    return load_results(folder)["sensitivity"].tables[table]


@pytest.mark.slow
def test_overlaps_are_those_of_the_dissection_in_the_same_command(dissected):
    folder, _ = dissected
    units = {
        (row["layer"], row["unit"]): (row["iou"], row["label"], row["category"])
        for row in load_results(folder)["dissection"].tables["dissection"]
        if row["images"] == "real"
    }
    rows = rows_of(folder, "sensitivity")
    assert {(row["layer"], row["unit"]) for row in rows} == set(units)
    for row in rows:
        assert (row["iou"], row["label"], row["category"]) == units[row["layer"], row["unit"]]


@pytest.mark.slow
def test_alone_and_from_a_folder_it_says_the_same(inputs, dissected, tmp_path):
    folder, both = dissected
    alone = run(inputs, tmp_path / "alone", "sensitivity", "--concepts", str(inputs / "broden"), "--layers", "layer3")
    run(inputs, tmp_path / "stored", "sensitivity", "--sensitivity.dissection", str(folder), "--layers", "layer3")
    for table in ("sensitivity", "sensitivity_layers", "sensitivity_classes"):
        assert alone[table] == both[table], table
    strip = [
        {key: value for key, value in row.items() if key != "iou"}
        for row in rows_of(tmp_path / "stored", "sensitivity")
    ]
    assert strip == [
        {key: value for key, value in row.items() if key != "iou"} for row in rows_of(folder, "sensitivity")
    ]
    assert alone["sensitivity_test"] == both["sensitivity_test"]
    assert not (tmp_path / "alone" / "dissection.csv").exists()


def test_without_concepts_the_claim_is_left_out_and_that_is_said(inputs, tmp_path, capsys):
    texts = run(inputs, tmp_path / "out", "sensitivity", "--layers", "layer3")
    assert "sensitivity_test" not in texts
    assert {row["iou"] for row in rows_of(tmp_path / "out", "sensitivity")} == {None}
    printed = " ".join(capsys.readouterr().out.split())
    assert "no dissection: --concepts DIR or --sensitivity.dissection FOLDER adds the test of detectors" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--attack", "null"], "there is no attack; give --attack pgd"),
        (["--sensitivity.dissection", "nowhere"], "sensitivity.dissection: nowhere: there is no evaluation here"),
        (["--sensitivity.caliper", "0"], "caliper must lie above 0"),
        (["--sensitivity.mask_units", "[4,4]"], "mask_units must be different numbers of units"),
        (["--sensitivity.mask_units", "[65]", "--layers", "layer3"], "mask_units must be at most the 64 units"),
        (["--sensitivity.mask_units", "[4]", "--sensitivity.mask_attack", "pdg"], "pdg"),
    ],
)
def test_wrong_settings_are_refused(inputs, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        run(inputs, tmp_path / "out", "sensitivity", *flags)
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not tables(tmp_path / "out")


@pytest.mark.slow
def test_another_networks_dissection_is_refused(inputs, dissected, tmp_path, capsys):
    folder, _ = dissected
    record = folder / "results.json"
    foreign_folder = tmp_path / "other"
    foreign_folder.mkdir()

    copytree(folder, foreign_folder, dirs_exist_ok=True)
    content = json.loads(record.read_text())
    content["provenance"]["weights_sha256"] = "0" * 64
    content.pop("sha256")
    (foreign_folder / "results.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        run(inputs, tmp_path / "out", "sensitivity", "--sensitivity.dissection", str(foreign_folder))
    assert "holds the dissection of another network (weights 000000000000…" in capsys.readouterr().err.replace(
        "\n", " "
    )


def test_masked_networks_have_a_table_and_a_figure(inputs, tmp_path):
    flags = ("--sensitivity.mask_units", "[0,4]", "--sensitivity.mask_steps", "1", "--sensitivity.mask_draws", "1")
    texts = run(inputs, tmp_path / "out", "sensitivity", "--layers", "layer3", "--sensitivity.noise", "false", *flags)
    rows = rows_of(tmp_path / "out", "sensitivity_masking")
    assert [(row["units"], row["mask"], row["attack"]) for row in rows] == [
        (units, mask, attack)
        for units, mask in ((0, None), (4, "sensitive"), (4, "random"))
        for attack in ("clean", "pgd")
    ]
    assert {row["eps"] for row in rows if row["attack"] == "clean"} == {None}
    assert [row["eps"] for row in rows if row["attack"] == "pgd"] == pytest.approx([4 / 255] * 3, rel=1e-5)
    assert (tmp_path / "out" / "figures" / "sensitivity_masking.png").exists()
    assert {row["images"] for row in rows_of(tmp_path / "out", "sensitivity")} == {"fgsm"}
    assert texts["sensitivity_masking"]


def test_images_in_both_sets_are_shared_out(inputs, tmp_path):
    """Pictures of the concept world: half is dissected, the rest is held against that."""
    flags = ("--data", "concept_world", "--limit", "12", "--layers", "layer3", "--sensitivity.noise", "false")
    run(inputs, tmp_path / "out", "sensitivity", "--concepts", "concept_world", *flags)
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    tests, units = (rows_of(tmp_path / "out", name) for name in ("sensitivity_test", "sensitivity"))
    assert {row["n"] for row in units} == {12}
    (n,) = {row["n"] for row in tests}
    assert 0 < n < 12
    assert record["provenance"]["concepts"]["images"] == 12


@pytest.mark.slow
def test_figures_can_be_drawn_from_the_folder_alone(dissected):
    folder, _ = dissected
    figures = QUESTIONS["sensitivity"]().figures(load_results(folder)["sensitivity"], "stored")
    assert set(figures) == {"sensitivity", "sensitivity_test"}
