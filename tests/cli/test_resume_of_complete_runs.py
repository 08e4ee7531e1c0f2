"""The same command on a run that is complete, or complete but for its comparison: the same last words."""

import re

import pytest
import torch
from interruptions import STEPS, PowerCut, Runs, assert_same, cut
from safetensors.torch import load_file

from lightning_advinterp.cli import train

EMA = ("--ema.decay", "0.5")


def table(capsys):
    """The lines of the printed table."""
    return [line for line in capsys.readouterr().out.splitlines() if re.match(r" *(real|fgsm)", line)]


def exported(folder):
    return {key: value.clone() for key, value in load_file(folder / "model.safetensors").items()}


@pytest.mark.slow
def test_a_complete_run_says_and_exports_the_same_again(tmp_path, monkeypatch, capsys):
    """No step is taken, and Lightning's averaging puts its weights in place only after a last one."""
    runs = Runs(tmp_path, monkeypatch, *EMA, "--export", "{}")
    folder = tmp_path / "run" / "run" / "export"
    runs.start("run", command=train)
    first, written = table(capsys), exported(folder)
    content = runs.content("run")
    key = "fc.weight"
    assert torch.equal(written[key], content["state_dict"][f"network.backbone.{key}"])
    assert not torch.equal(written[key], content["current_model_state"][f"network.backbone.{key}"])
    runs.seen.clear()
    runs.start("run", command=train)
    assert not runs.seen
    again = exported(folder)
    assert all(torch.equal(value, again[key]) for key, value in written.items())
    assert len(first) == 2
    assert table(capsys) == first


@pytest.mark.slow
def test_a_comparison_that_was_interrupted_goes_on(tmp_path, monkeypatch, capsys):
    runs = Runs(tmp_path, monkeypatch, *EMA, "--compare_with_standard", "true")
    runs.start("whole", command=train)
    expected = table(capsys)
    assert len(runs.seen) == 4 * STEPS
    runs.seen.clear()
    runs.at("training", 5, lambda: runs.at("training", 5, cut))  # the second run's sixth step
    with pytest.raises(PowerCut):
        runs.start("parts", command=train)
    assert len(runs.seen) == 3 * STEPS + 2
    runs.seen.clear()
    runs.start("parts", command=train)
    assert [epoch for epoch, _, _ in runs.seen] == [1] * STEPS  # nothing of the first run is trained again
    assert table(capsys) == expected
    for name in ("run", "run-standard"):
        first, second = (
            torch.load(tmp_path / folder / name / "last.ckpt", weights_only=True) for folder in ("whole", "parts")
        )
        assert_same(first, second)


def test_the_comparison_leaves_the_first_networks_export_alone(tmp_path, monkeypatch):
    runs = Runs(tmp_path, monkeypatch, "--compare_with_standard", "true", "--export.folder", str(tmp_path / "there"))
    runs.start("run", "--trainer.max_epochs", "1", command=train)
    for folder, name in ((tmp_path / "there", "run"), (tmp_path / "run" / "run-standard" / "export", "run-standard")):
        state = torch.load(tmp_path / "run" / name / "last.ckpt", weights_only=True)["state_dict"]
        assert torch.equal(exported(folder)["fc.weight"], state["network.backbone.fc.weight"])
