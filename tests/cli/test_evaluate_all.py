"""``--analyses all`` does what can be done, and says what cannot and why."""

import json

import pytest
from unit_evaluations import run

from lightning_advinterp.analyses.curvature.analysis import CurvatureAnalysis
from lightning_advinterp.analyses.registry import QUESTIONS

FLAGS = (
    *("--attack", "null", "--limit", "6", "--fragility.limit", "1", "--fragility.steps", "1"),
    *("--promotion.limit", "1", "--tracing.limit", "1"),
)


def broken(*_, **__):
    raise RuntimeError("sizes differ\nsee above")


@pytest.mark.parametrize("moment", ["bind", "update", "result"])
@pytest.mark.slow
def test_what_cannot_be_run_is_left_out_with_its_reason(inputs, tmp_path, monkeypatch, capsys, moment):
    monkeypatch.setattr(CurvatureAnalysis, moment, broken)
    tables = run(inputs, tmp_path / "out", "all", *FLAGS)
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    reasons = {"influence": "influence: 4 images", "dissection": "it needs concepts, which are not given"}
    reasons |= {"detection": "detection: 6 images give", "sensitivity": "sensitivity: "}
    reasons["curvature"] = "RuntimeError: sizes differ"
    done = QUESTIONS.keys() - reasons.keys()
    printed = capsys.readouterr().out
    assert set(record["analyses"]) == done
    assert record["left_out"].keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason[:20] in record["left_out"][name]
        assert f"{name}: left out, {record['left_out'][name]}" in printed
    monkeypatch.undo()
    alone = run(inputs, tmp_path / "alone", "accuracy,predictions", *FLAGS)
    assert {name: tables[name] for name in alone} == alone


def test_what_was_named_is_not_left_out(inputs, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(inputs, tmp_path / "out", "accuracy,influence", *FLAGS)
    assert stop.value.code == 2
    monkeypatch.setattr(CurvatureAnalysis, "update", broken)
    with pytest.raises(SystemExit) as stop:
        run(inputs, tmp_path / "out", "accuracy,curvature", *FLAGS)
    assert stop.value.code == 1
    assert "error: RuntimeError: sizes differ" in capsys.readouterr().err
    assert "the analysis that failed: curvature" in (tmp_path / "out" / "traceback.txt").read_text()


def test_where_nothing_can_be_run_the_reasons_are_said(inputs, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(inputs, tmp_path / "out", "all", "--data", str(tmp_path / "absent"))
    assert stop.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: analyses: none of all can be run here. accuracy: ")
    assert "absent" in line
