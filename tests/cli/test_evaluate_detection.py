"""Detection from the command line: files, what is refused before any work, and what a dry run says."""

import json

import pytest
from declared import undeclared
from unit_evaluations import rows, tables, write_checkpoint

from lightning_advinterp.cli import evaluate
from lightning_advinterp.metrics.detection_scores import TRUST

QUICK = ["learn=40", "calibrate=20", "report=20", "adaptive_images=3", "steps=2", "restarts=1", "weights=[1.0]"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("network") / "last.ckpt")


def command(checkpoint, output, *flags):
    parts = ["--checkpoint", str(checkpoint), "--data", "concept_world", "--limit", "90", "--num_workers", "0"]
    quick = [f"--detection.{setting}" for setting in QUICK]
    return [*parts, "--analyses", "detection", "--attack", "fgsm,pgd", "--output", str(output), *quick, *flags]


@pytest.mark.slow
def test_writes_tables_and_figures(checkpoint, tmp_path, capsys):
    evaluate(command(checkpoint, tmp_path / "out"))
    shown = capsys.readouterr().out
    assert "detection at 5% false alarms" in shown
    texts = tables(tmp_path / "out")
    assert {"detection", "errors", "errors_summary", "risk_coverage"} <= set(texts)
    detectors = rows(texts["detection"])
    for name in {row["score"] for row in detectors}:
        kinds = [(row["images"], row["adaptive"]) for row in detectors if row["score"] == name]
        assert kinds == [("fgsm", "false"), ("pgd", "false"), ("worst", "false"), ("fgsm", "true")]
    errors = rows(texts["errors"])
    assert len(errors) == 3 * 20
    assert len({row["image"] for row in errors}) == 20
    assert set(TRUST) <= set(errors[0])
    for figure in ("detection", "risk_coverage"):
        assert (tmp_path / "out" / "figures" / f"{figure}.png").stat().st_size > 10_000
    assert undeclared(tmp_path / "out", "detection") == []
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record


def test_scores_are_chosen_by_name(checkpoint, tmp_path):
    evaluate(command(checkpoint, tmp_path / "out", "--detection.scores", "[energy,knn]"))
    texts = tables(tmp_path / "out")
    assert {row["score"] for row in rows(texts["detection"])} == {"energy", "knn"}
    scores = {row["score"] for row in rows(texts["errors_summary"])}
    assert scores == {"energy", "knn", "pd_concentration", "centre_distance"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--detection.scores", "[softmax]"], "detection.scores must be of semantic_support"),
        (["--detection.calibrate", "5"], "detection.calibrate must be 19 or more"),
        (["--limit", "30"], "needs 19 to calibrate on. Give more images"),
    ],
)
def test_wrong_settings_are_refused_in_a_line(checkpoint, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        evaluate(command(checkpoint, tmp_path / "out", *flags))
    assert stop.value.code
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_dry_run_says_what_it_costs(checkpoint, tmp_path, capsys):
    evaluate(command(checkpoint, tmp_path / "out", "--dry_run", "--trial_seconds", "0"))
    shown = " ".join(capsys.readouterr().out.split())
    # 80 images of 3 passes; 20 of 3 kinds with 3 passes, of FGSM and of PGD; 3 images times 10 times 3 and 2 passes.
    forwards = 80 * 3 + 20 * 3 * 3 + 20 * (1 + 10) + 3 * 10 * 3
    assert f"detection: 80 images, {forwards:,} forward passes, {20 * 11 + 3 * 10 * 2:,} backward passes" in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_concepts_of_a_dissection_are_taken(checkpoint, tmp_path, capsys):
    """Of one in the same evaluation, and of a stored one: the same scores, and others than without."""
    scores = ["--detection.scores", "[concept_disagreement]"]
    dissect = ["--concepts", "concept_world", "--dissection.layers", "last", "--dissection.quantile", "0.9"]
    dissect += ["--dissection.groups", "2", "--dissection.replicates", "10"]
    both = [*command(checkpoint, tmp_path / "both", *scores, *dissect), "--analyses", "dissection,detection"]
    evaluate(both)
    evaluate(command(checkpoint, tmp_path / "stored", *scores, "--detection.dissection", str(tmp_path / "both")))
    evaluate(command(checkpoint, tmp_path / "alone", *scores))
    values = {}
    for name in ("both", "stored", "alone"):
        values[name] = [row["concept_disagreement"] for row in rows(tables(tmp_path / name)["errors"])]
    assert values["both"] == values["stored"] != values["alone"]
    with pytest.raises(SystemExit):
        evaluate(command(checkpoint, tmp_path / "none", *scores, "--detection.dissection", str(tmp_path / "alone")))
    assert "detection.dissection: " in " ".join(capsys.readouterr().err.split())
