"""Extensions of a user's own file, by class path, through the commands: none of them is known to the package."""

import csv
import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_advinterp.cli import evaluate, train

ECE = "examples.extensions.calibration_error.Ece"
CONFIG = """
name: extended
seed_everything: 3
trainer:
  max_epochs: 2
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
data:
  class_path: ConceptWorldDataModule
  init_args: {train_size: 32, val_size: 24, test_size: 24, image_size: 16, batch_size: 16}
model: {network: resnet18, stem: small, optimizer: {lr: 0.05}}
accuracy: null
guard: null
pictures: null
watch:
  accuracy: {attacks: [{type: fgsm, eps: 8/255}], limit: 20}
  examples.extensions.calibration_error.Ece:
    attacks: [{type: fgsm, eps: 8/255}]
    limit: 20
    settings: {bins: 5}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extended")
    (folder / "config.yaml").write_text(CONFIG)
    train(["--config", str(folder / "config.yaml"), "--output", str(folder)])
    return folder


def test_a_question_is_watched_beside_others_in_one_run(folder):
    events = EventAccumulator(str(folder / "extended")).Reload()
    assert {"ece/real", "ece/fgsm", "val/fgsm_acc", "time/ece", "time/AccuracyCallback"} <= set(
        events.Tags()["scalars"]
    )
    assert "ece/figure" in events.Tags()["images"]
    assert len(events.Scalars("ece/fgsm")) == 2
    for one, other in zip(events.Scalars("time/ece"), events.Scalars("time/AccuracyCallback"), strict=True):
        assert one.value == other.value, "they share a run, and so its time"


def test_a_question_is_evaluated(folder, capsys):
    flags = ["--checkpoint", str(folder / "extended" / "last.ckpt"), "--analyses", f"accuracy,{ECE}", "--ece.bins", "5"]
    flags += ["--attack", "fgsm", "--eps", "8/255", "--limit", "20", "--output", str(folder / "out")]
    evaluate(flags)
    with (folder / "out" / "ece.csv").open() as file:
        rows = {row["images"]: row for row in csv.DictReader(file)}
    scalars = json.loads((folder / "out" / "results.json").read_text())["scalars"]["ece"]
    assert {kind: float(row["ece"]) for kind, row in rows.items()} == pytest.approx(
        {"real": scalars["ece/real"], "fgsm": scalars["ece/fgsm"]}, abs=1e-5
    )
    assert (folder / "out" / "figures" / "ece.png").exists()
    assert "calibration" in capsys.readouterr().out


def test_the_expected_calibration_error_against_a_literal_loop():
    from examples.extensions.calibration_error import CalibrationAnalysis
    from lightning_advinterp.analyses.base.protocol import Observation

    logits, labels = torch.randn(64, 5, generator=torch.Generator().manual_seed(1)), torch.arange(64) % 5
    analysis = CalibrationAnalysis(("real",), 7)
    analysis.update(0, Observation(torch.arange(64), labels, {}, {"real": logits}, {}, {}, {}))
    (row,) = analysis.result().tables["ece"]
    confidence, predicted = logits.double().softmax(1).max(1)
    expected = 0.0
    for low in range(7):
        inside = (confidence * 7).floor() == low
        if inside.any():
            gap = (predicted == labels)[inside].double().mean() - confidence[inside].mean()
            expected += float(inside.double().mean() * gap.abs())
    assert row["ece"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--analyses", "nowhere.Ece"], "there is no module 'nowhere' for nowhere.Ece"),
        (["--analyses", "examples.extensions.calibration_error.No"], "has no class 'No'"),
        (["--analyses", "torch.nn.Linear"], "torch.nn.Linear is no question"),
        (["--analyses", ECE, "--ece.bns", "3"], "there is no key ece.bns; did you mean ece.bins?"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate([*flags, "--network", "resnet18", "--data", "concept_world"])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "examples" / "extensions").glob("*.py")), ids=str)
def test_extensions_are_short(path):
    assert len(path.read_text().splitlines()) <= (80 if path.stem == "calibration_error" else 40)
