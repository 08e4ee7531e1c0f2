"""The export command, and the callback at the end of a training."""

import json

import pytest
import torch
from safetensors.torch import load_file
from short_configs import short_config

from lightning_advinterp.cli import train
from lightning_advinterp.cli.export import main, parser
from lightning_advinterp.data.concept_world import CLASSES

SMALL = short_config("small", max_epochs=1, val_size=16, test_size=16)
SMALL += """
model: {network: cifar_resnet20, optimizer: {lr: 0.05}}
accuracy: null
guard: null
pictures: null
ema: {decay: 0.5}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    (folder / "small.yaml").write_text(SMALL)
    flags = ["--config", str(folder / "small.yaml"), "--output", str(folder / "runs")]
    train([*flags, "--export", "{}"])
    train([*flags, "--name", "off"])
    train([*flags, "--name", "there", "--export.folder", str(folder / "there")])
    return folder


def test_the_callback_writes_at_the_end_and_only_if_asked(runs):
    assert sorted(path.name for path in (runs / "runs" / "small" / "export").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    assert not (runs / "runs" / "off" / "export").exists()
    assert (runs / "there" / "model.safetensors").exists()


def test_command_and_callback_write_the_averaged_weights(runs, tmp_path, capsys):
    main([str(runs / "runs" / "small" / "last.ckpt"), "--output", str(tmp_path / "out")])
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "out" / "model.safetensors"),
        str(tmp_path / "out" / "config.json"),
    ]
    content = torch.load(runs / "runs" / "small" / "last.ckpt", weights_only=True)
    average, trained = content["state_dict"], content["current_model_state"]
    for folder in (tmp_path / "out", runs / "runs" / "small" / "export"):
        tensors = load_file(folder / "model.safetensors")
        assert {f"network.backbone.{key}" for key in tensors} == set(average)
        assert all(torch.equal(value, average[f"network.backbone.{key}"]) for key, value in tensors.items())
        assert any(not torch.equal(value, trained[f"network.backbone.{key}"]) for key, value in tensors.items())
    ours, theirs = (
        json.loads((folder / "config.json").read_text())
        for folder in (tmp_path / "out", runs / "runs" / "small" / "export")
    )
    assert ours == theirs
    assert ours["advinterp"]["averaged"] is True
    assert [entry["wnid"] for entry in ours["advinterp"]["classes"]] == [item.wnid for item in CLASSES]


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "no.ckpt"), "--output", str(tmp_path)])
    assert stop.value.code == 2
    assert "no file" in capsys.readouterr().err
    assert "best.ckpt" in parser().format_help()
