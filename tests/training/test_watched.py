"""Who loads the images of callbacks, and what a deterministic training on an accelerator may refuse."""

from types import SimpleNamespace

import pytest
import torch

from lightning_advinterp.cli import TrainCLI
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.deterministic import refused_operations
from lightning_advinterp.training.callbacks import AccuracyCallback, DissectionCallback, FragilityCallback
from lightning_advinterp.training.callbacks.semantics import SemanticsCallback
from lightning_advinterp.training.callbacks.watch import watchers
from lightning_advinterp.training.callbacks.watched import loading_workers
from lightning_advinterp.training.preflight import _say_what_may_raise


@pytest.mark.parametrize(("device", "setting", "workers"), [("cuda", None, 3), ("cpu", None, 0), ("cpu", 2, 2)])
def test_callbacks_load_with_as_many_workers_as_the_training(device, setting, workers):
    trainer = SimpleNamespace(train_dataloader=SimpleNamespace(num_workers=3), num_devices=1)
    assert loading_workers(trainer, setting, torch.device(device)) == workers
    trainer.train_dataloader = None  # Trainer.validate has none
    assert loading_workers(trainer, setting, torch.device(device)) == (setting or 0)


@pytest.mark.parametrize("kind", [AccuracyCallback, DissectionCallback, FragilityCallback, SemanticsCallback])
def test_the_number_can_be_said_to_every_callback(kind):
    assert kind(num_workers=2).num_workers == 2
    assert watchers({"predictions": {"num_workers": "auto"}})[0].num_workers == "auto"
    with pytest.raises(ValueError, match="num_workers must be 'auto' or an integer"):
        kind(num_workers=-1)


def test_adaptive_pooling_is_named_where_it_may_raise(caplog):
    networks = [create_network(name, num_classes=3, input_size=64) for name in ("alexnet", "resnet18")]
    assert [refused_operations(network) for network in networks] == [["adaptive average pooling"], []]
    for device in ("cpu", "cuda"):
        _say_what_may_raise(networks[0], device)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["trainer.deterministic"]
    assert "trainer.deterministic: warn" in caplog.text


def test_a_root_that_is_not_used_is_named(tmp_path, caplog):
    cli = TrainCLI.parse(
        [
            *("--data", "ConceptWorldDataModule", "--data.train_size", "8", "--data.val_size", "4"),
            *("--model.network", "cifar_resnet20", "--trainer.accelerator", "cpu", "--name", "x"),
            *("--output", str(tmp_path), "--trainer.default_root_dir", str(tmp_path / "elsewhere")),
        ]
    )
    assert cli.trainer.default_root_dir == str(tmp_path / "x")
    assert "trainer.default_root_dir has no effect" in caplog.text
