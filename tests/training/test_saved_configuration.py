"""What the start of a run writes and says of its configuration, beside that of an earlier start."""

import pytest

from lightning_advinterp.training.run_directory import RunDirectory

OLD = "model:\n  attack:\n    type: pgd\n    eps: 8/255\n    norm: null\n    steps: 5\n  weights: null\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (OLD, None),
        ("model:\n  attack:\n    type: pgd\n    eps: 8/255\n    steps: 5\n  weights: null\n", []),
        (OLD.replace("steps: 5", "steps: 7"), ["-    steps: 5", "+    steps: 7"]),
        (OLD.replace("steps: 5", "steps: null"), ["-    steps: 5"]),
        (OLD.replace("weights: null", "weights: a.pth"), ["+  weights: a.pth"]),
    ],
)
def test_changes_are_said_and_the_old_one_is_kept(tmp_path, caplog, text, lines):
    """An earlier version wrote out settings that were not said: they are no change."""
    run = RunDirectory(tmp_path)
    run.save_config(OLD)
    run.save_config(text)
    assert run.config.read_text() == text
    assert (tmp_path / "config.0.yaml").exists() == (lines is not None)
    if lines is not None:
        assert (tmp_path / "config.0.yaml").read_text() == OLD
    assert bool(caplog.records) == bool(lines)
    changed = [
        line for line in caplog.text.splitlines() if line.startswith(("+", "-")) and line[:3] not in ("+++", "---")
    ]
    assert changed == (lines or [])
