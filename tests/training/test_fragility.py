"""The callback in a training, and its place on the command line; on two processes see test_many_processes.py."""

import csv

import pytest
import pytorch_lightning as pl
import torch
import yaml
from helpers import Memory, small_batch
from short_configs import short_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.attacks import ExplanationAttackConfig
from lightning_advinterp.cli import TrainCLI, train
from lightning_advinterp.report.page.stored import read_evaluations
from lightning_advinterp.training.callbacks.fragility import FragilityCallback
from lightning_advinterp.training.module import RobustClassifier

BASE = short_config("fragile", max_epochs=1, test_size=12)
BASE += """
model: {network: cifar_resnet20, optimizer: {lr: 0.05}}
accuracy: null
guard: null
pictures: null
"""
FRAGILITY = """
fragility:
  limit: 24
  seconds: null
  settings:
    methods: [{type: gradient}, {type: lrp}]
    attacks: [{type: topk}, {type: random_sign, name: noise}]
    eps: [4/255, 8/255]
    steps: 2
"""


@pytest.fixture
def config(tmp_path):
    def write(*parts):
        path = tmp_path / "config.yaml"
        path.write_text("".join(parts))
        return ["--config", str(path), "--output", str(tmp_path / "runs")]

    return write


@pytest.mark.slow
def test_scalars_figures_and_an_untouched_training(config, tmp_path, capsys):
    train([*config(BASE, FRAGILITY), "--name", "with"])
    page = tmp_path / "runs" / "with" / "page" / "index.html"
    assert f"page           {page}" in capsys.readouterr().out.splitlines()
    assert "advinterp train --config" in page.read_text()
    (evaluation,) = read_evaluations(page.parent)  # whose accuracies a comparison pairs by image
    right = [row["real"] == row["label"] for row in evaluation.rows("predictions")]
    assert [float(row["top1"]) for row in evaluation.rows("accuracy")] == [pytest.approx(sum(right) / len(right))]
    train([*config(BASE), "--name", "without"])
    events = EventAccumulator(str(tmp_path / "runs" / "with")).Reload()
    logged = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    assert logged["fragility/images"] + logged["fragility/skipped"] == 24
    assert logged["fragility/left"] == 0
    assert logged["fragility/images"] > 0
    for method in ("gradient", "lrp"):
        for attack in ("topk", "noise"):
            for measure in ("topk", "spearman", "center_shift", "label_kept", "success"):
                assert f"fragility/{method}/{attack}/{measure}" in logged
        assert 0 <= logged[f"fragility/{method}/other_image/topk"] <= 1
    images = set(events.Tags()["images"])
    assert {"fragility/curves", "fragility/gradient", "fragility/lrp"} <= images
    folder = tmp_path / "runs" / "with" / "fragility" / "epoch_1"
    files = {"fragility", "fragility_summary", "fragility_methods", "fragility_convergence"}
    assert {path.name for path in folder.iterdir()} == {"figures", *(f"{name}.csv" for name in files)}
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "convergence.png",
        "curves.png",
        "gradient.png",
        "lrp.png",
    }
    with (tmp_path / "runs" / "with" / "metrics.csv").open() as file:
        numbers = [row["fragility/lrp/topk/topk"] for row in csv.DictReader(file)]
    assert float(next(filter(None, numbers))) == pytest.approx(logged["fragility/lrp/topk/topk"])
    with (folder / "fragility.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == logged["fragility/images"] * 2 * 2 * 2
    with (folder / "fragility_summary.csv").open() as file:
        summary = [row for row in csv.DictReader(file) if (row["method"], row["attack"]) == ("lrp", "topk")]
    assert float(summary[-1]["spearman"]) == pytest.approx(logged["fragility/lrp/topk/spearman"], abs=1e-5)
    states = [
        torch.load(tmp_path / "runs" / name / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("with", "without")
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


def test_nothing_is_written_where_no_log_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batch = small_batch(n=6, size=12)
    settings = FragilityConfig(attacks=(ExplanationAttackConfig("topk", k=10),), eps=("4/255",), steps=1)
    module = RobustClassifier("helpers.SmallBackbone", num_classes=5, image_size=12)
    watching = FragilityCallback(settings, limit=6, seconds=None)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        callbacks=[watching],
    )
    trainer.validate(module, DataLoader(Memory(batch), batch_size=3), verbose=False)
    assert "fragility/images" in trainer.callback_metrics
    assert not list(tmp_path.iterdir())


def test_defaults_and_presets_parse(config):
    cli = TrainCLI.parse([*config(BASE), "--fragility", "{}"])
    callback = cli.config_init.fragility
    assert (callback.limit, callback.questions[0].seconds) == (8, 60.0)
    cases = callback.questions[0].cases()
    assert {case.method for case in cases} == {"gradient", "integrated_gradients"}
    assert {case.attack.label_name for case in cases} == {"random_sign", "topk", "mass_centre"}
    assert {case.eps for case in cases} == {8 / 255}
    assert "preset: quick" in cli.config_text
    cli = TrainCLI.parse([*config(BASE), "--fragility", "{settings: {preset: ghorbani2019, eps: null}}"])
    assert {case.attack.steps for case in cli.config_init.fragility.questions[0].cases()} == {300}
    cli = TrainCLI.parse(config(BASE, FRAGILITY))
    assert yaml.safe_load(cli.config_text)["fragility"]["settings"]["attacks"][1]["name"] == "noise"
    assert yaml.safe_load(TrainCLI.parse(config(BASE)).config_text)["fragility"] is None


def test_a_method_that_does_not_fit_shows_before_the_first_step(config, capsys):
    flags = ["--model.network", "timm/vit_tiny_patch16_224", "--model.network_options", "{img_size: 16, patch_size: 8}"]
    with pytest.raises(SystemExit):
        train([*config(BASE, FRAGILITY), *flags])
    assert "fragility.methods: lrp" in capsys.readouterr().err
