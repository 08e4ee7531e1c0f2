"""The training command, end to end on the concept world, and what it refuses."""

import re

import pytest
import torch
import yaml
from short_configs import short_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_advinterp.cli import TrainCLI, train
from lightning_advinterp.networks.checkpoint import load_checkpoint

SMALL = short_config("small", seed=3, max_epochs=2, train_size=48)
SMALL += """
model:
  network: cifar_resnet20
  objective: {class_path: Consistency, init_args: {attack: {type: fgsm, eps: [2/255, 8/255]}}}
  optimizer: {lr: 0.05}
accuracy: {attacks: [{type: fgsm, eps: 4/255}, {type: pgd, eps: 4/255, steps: 2}], limit: 12}
guard: {images: 8, attack: {type: pgd, eps: 4/255, steps: 1}}
pictures: {images: 2, attack: {type: fgsm, eps: 4/255}}
checkpoint: {monitor: val/pgd_acc}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


def run(config, tmp_path, *flags):
    train(["--config", config, "--output", str(tmp_path / "runs"), *flags])
    return tmp_path / "runs"


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def scalars(folder):
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}, events


@pytest.mark.slow
def test_one_command_trains_compares_and_reports(config, tmp_path, capsys):
    runs = run(config, tmp_path, "--compare_with_standard", "true")
    for name in ("small", "small-standard"):
        assert {"config.yaml", "last.ckpt", "best.ckpt"} <= {path.name for path in (runs / name).iterdir()}
    printed = capsys.readouterr().out
    assert re.search(r"consistency +standard", printed)
    assert re.search(r"real +24", printed)
    assert "pgd ε=4/255" in printed
    assert "python evaluate.py --checkpoint" in printed
    standard = yaml.safe_load((runs / "small-standard" / "config.yaml").read_text())
    consistent = yaml.safe_load((runs / "small" / "config.yaml").read_text())
    assert standard["model"].pop("objective")["class_path"].endswith("Standard")
    assert consistent["model"].pop("objective")["class_path"].endswith("Consistency")
    assert standard["model"] == consistent["model"]
    assert standard["data"] == consistent["data"]
    logged, events = scalars(runs / "small")
    expected = {
        "train/loss",
        "train/loss_clean",
        "train/loss_adv",
        "train/consistency",
        "train/acc",
        "train/adv_acc",
    }
    expected |= {
        "train/phi_norm",
        "train/phi_shift",
        "val/loss",
        "val/acc",
        "val/acc5",
        "val/fgsm_acc",
        "val/pgd_acc",
    }
    expected |= {
        "guard/pgd_acc",
        "guard/phi_norm",
        "guard/phi_shift",
        "time/images_per_second",
        "time/data_share",
    }
    assert expected <= set(logged)
    assert len(logged["val/pgd_acc"]) == 2
    assert events.Tags()["images"] == ["images/fgsm"]
    plugins = set(events.summary_metadata)
    assert any("custom_scalars" in tag for tag in plugins)
    assert any("hparams" in tag for tag in plugins)


@pytest.mark.slow
def test_checkpoint_rebuilds_the_network_alone(config, tmp_path):
    runs = run(config, tmp_path, "--trainer.max_epochs", "1")
    content = torch.load(runs / "small" / "last.ckpt", weights_only=True)
    expected = {"format", "network", "classes", "class_names", "phi", "seed", "resize", "sha256"}
    assert set(content["advinterp"]) == expected
    assert "hyper_parameters" not in content
    loaded = load_checkpoint(runs / "small" / "last.ckpt")
    assert loaded.network.name == "cifar_resnet20"
    assert (loaded.network.num_classes, loaded.network.input_size, loaded.seed, loaded.epoch) == (
        12,
        16,
        3,
        1,
    )
    assert len(loaded.classes) == len(loaded.class_names) == 12
    stored = {key.removeprefix("network."): value for key, value in content["state_dict"].items()}
    assert all(torch.equal(value, stored[key]) for key, value in loaded.network.state_dict().items())


DROPOUT = (
    *("--model.network", "helpers.SmallBackbone", "--model.network_options", '{"dropout": 0.5}'),
    *("--model.objective.init_args.layers", "relu2", "--guard", "null"),
)
"""A network that draws from the global generator in every step."""


@pytest.mark.parametrize("network", [(), DROPOUT], ids=["resnet", "dropout"])
@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(config, tmp_path, network):
    flags = ("--model.schedule.name", "constant", *network)
    uninterrupted = run(config, tmp_path / "whole", *flags)
    parts = run(config, tmp_path / "parts", *flags, "--trainer.max_epochs", "1")
    run(config, tmp_path / "parts", *flags)
    expected, resumed = weights(uninterrupted / "small" / "last.ckpt"), weights(parts / "small" / "last.ckpt")
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    assert (parts / "small" / "config.0.yaml").exists()
    assert "max_epochs: 1" in (parts / "small" / "config.0.yaml").read_text()


@pytest.mark.slow
def test_watching_changes_nothing(config, tmp_path):
    watched = run(config, tmp_path / "a")
    off = ("--accuracy", "null", "--guard", "null", "--pictures", "null", "--checkpoint", "null")
    alone = run(config, tmp_path / "b", *off)
    expected, unwatched = weights(watched / "small" / "last.ckpt"), weights(alone / "small" / "last.ckpt")
    assert all(torch.equal(expected[key], unwatched[key]) for key in expected)


@pytest.mark.slow
def test_seeds_decide(config, tmp_path):
    first = run(config, tmp_path / "a", "--trainer.max_epochs", "1")
    reseeded = run(config, tmp_path / "b", "--trainer.max_epochs", "1", "--seed_everything", "4")
    before, after = weights(first / "small" / "last.ckpt"), weights(reseeded / "small" / "last.ckpt")
    assert any(not torch.equal(before[key], after[key]) for key in before)


def test_configurations_layer(config, tmp_path):
    over = tmp_path / "over.yaml"
    over.write_text("accuracy: {limit: 7}\nguard: null\ntrainer: {max_epochs: 5}\n")
    cli = TrainCLI.parse(["--config", config, "--config", str(over), "--model.optimizer.lr", "0.2"])
    assert cli.config.accuracy.limit == 7
    assert list(cli.config_init.accuracy.attacks()) == ["fgsm", "pgd"]
    assert cli.config.guard is None
    assert cli.config.trainer.max_epochs == 5
    assert cli.model.optimizer_config.lr == 0.2
    assert cli.model.objective.seed == 3
    assert cli.datamodule.seed == 3


def test_what_is_saved_is_a_configuration(tmp_path):
    """Also where lists of attacks were left at their defaults; the comparison starts from this file."""
    everything = [flag for key in ("dissection", "semantics", "ema", "export") for flag in (f"--{key}", "{}")]
    cli = TrainCLI.parse(["--data", "ConceptWorldDataModule", *everything])
    (tmp_path / "saved.yaml").write_text(cli.config_text)
    assert TrainCLI.parse(["--config", str(tmp_path / "saved.yaml")]).config_text == cli.config_text
    saved = yaml.safe_load(cli.config_text)
    assert [attack["type"] for attack in saved["accuracy"]["attacks"]] == ["fgsm", "pgd"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--trainer.inference_mode", "true"],
            "inference_mode must be false: attacks and explanations need gradients",
        ),
        (["--model.objective.init_args.attack.eps", "8"], 'write "8/255"'),
        (["--model.objective.init_args.alpha", "2"], r"alpha must be in \[0, 1\], got 2.0"),
        (["--model.network", "resnet81"], "resnet18"),
        (["--model.optimizer.name", "adam"], "adamw"),
        (["--resume", "no/such.ckpt"], "expected auto, never or a checkpoint file"),
        (["--accuracy.attacks", '[{"type": "fgsm"}, {"type": "fgsm"}]'], "needs a name of its own"),
    ],
)
def test_wrong_configurations_are_refused(config, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        run(config, tmp_path, *flags)
    assert stop.value.code == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "runs" / "small" / "last.ckpt").exists()


@pytest.mark.slow
def test_never_resuming_keeps_the_earlier_run(config, tmp_path, capsys):
    runs = run(config, tmp_path, "--trainer.max_epochs", "1")
    before = (runs / "small" / "last.ckpt").read_bytes()
    with pytest.raises(SystemExit):
        run(config, tmp_path, "--resume", "never")
    assert "holds an earlier run's checkpoints" in capsys.readouterr().err
    assert (runs / "small" / "last.ckpt").read_bytes() == before


def test_half_precision_warns(config):
    with pytest.warns(UserWarning, match="bf16-mixed has float32's range"):
        TrainCLI.parse(["--config", config, "--trainer.precision", "16-true"])
