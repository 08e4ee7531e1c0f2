"""What does not suit a later question is said before an earlier one has looked at an image."""

import pytest
from unit_evaluations import run

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.tracing import question


@pytest.mark.parametrize(
    ("later", "flags", "message"),
    [
        ("detection", [], "detection: 15 images give"),
        ("tracing", ["--tracing.dissection", "nowhere"], "tracing.dissection: nowhere: there is no evaluation here"),
        ("sensitivity", ["--sensitivity.dissection", "nowhere"], "sensitivity.dissection: nowhere: there is no"),
        ("promotion", ["--promotion.cell", "17"], "promotion.cell"),
        ("influence", ["--influence.classes", "[nobody,noone]"], "influence.classes: nobody, noone"),
    ],
)
def test_a_later_question_is_refused_before_any_work(inputs, tmp_path, capsys, monkeypatch, later, flags, message):
    monkeypatch.setattr(Runner, "run", lambda *_: pytest.fail("images were looked at"))
    with pytest.raises(SystemExit) as stop:
        run(inputs, tmp_path / "out", f"curvature,accuracy,{later}", "--attack", "fgsm", *flags)
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_look_ahead_does_not_warn_twice(inputs, tmp_path, caplog, monkeypatch):
    def unknown(*_):
        raise ValueError("nobody knows the classes")

    monkeypatch.setattr(question, "class_space", unknown)
    run(inputs, tmp_path / "out", "tracing", "--attack", "null", "--tracing.of", "right", "--limit", "3")
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("tracing: units get no meaning from classes: nobody knows the classes") == 1
