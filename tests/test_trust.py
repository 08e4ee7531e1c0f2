"""A file names a class: it is imported only if the user vouches for it, whichever door the file comes in by."""

import sys

import pytest
import torch

from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.cli import evaluate, fit
from lightning_advinterp.cli.adversarial import main as make_set
from lightning_advinterp.cli.export import main as export
from lightning_advinterp.core.trust import current_trust, trusting
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.objectives.source_network import SourceNetwork
from lightning_advinterp.training.checkpoint_io import AtomicCheckpointIO

MODULE = """
from pathlib import Path
from torch import nn

Path(__file__).with_name("ran").touch()


class Net(nn.Module):
    def __init__(self, num_classes=12):
        super().__init__()
        self.fc = nn.Linear(3, num_classes)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))
"""
SET = ("--data", "concept_world", "--limit", "2")
TINY = ("--data", "concept_world", "--limit", "2", "--num_workers", "0")


@pytest.fixture
def gift(tmp_path, monkeypatch):
    """A checkpoint, and beside it the module of the class that it names; importing that leaves a file ``ran``."""
    folder = tmp_path / "gifts" / "nice"
    folder.mkdir(parents=True)
    (folder / "weights_info.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    spec = {"name": "gifts.nice.weights_info.Net", "num_classes": 12, "mean": [0.5] * 3, "std": [0.5] * 3}
    state = {"network.backbone.fc.weight": torch.rand(12, 3), "network.backbone.fc.bias": torch.zeros(12)}
    meta = {"format": 1, "network": spec | {"input_size": 16, "stem": None, "phi": None}, "classes": [], "seed": 0}
    AtomicCheckpointIO().save_checkpoint({"state_dict": state, "epoch": 0, "advinterp": meta}, folder / "last.ckpt")
    torch.save(create_network("cifar_resnet20", num_classes=12).backbone.state_dict(), "plain.pth")
    yield folder
    for name in [name for name in sys.modules if name.startswith("gifts")]:
        del sys.modules[name]


def member(path):
    return f'{{type: ensemble, weight: 1, steps: 1, members: [{{checkpoint: "{path}"}}]}}'


PLAIN = ("--network", "cifar_resnet20", "--weights", "plain.pth")
TRAIN = (
    *("--output", "runs", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.logger", "false"),
    *("--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1", "--model.network", "cifar_resnet20"),
    *("--data", "ConceptWorldDataModule", "--data.train_size", "4", "--data.val_size", "4", "--data.image_size", "16"),
    *("--data.batch_size", "4", "--guard", "null", "--pictures", "null", "--accuracy", "null"),
)
COMMANDS = {
    "evaluate": lambda path, *more: evaluate(["--checkpoint", path, *TINY, *more]),
    "compare": lambda path, *more: evaluate([*PLAIN, "--compare", path, *TINY, *more]),
    "rows": lambda path, *more: evaluate(["--rows", f'[{{name: a, checkpoint: "{path}"}}]', *TINY, *more]),
    "members": lambda path, *more: evaluate([*PLAIN, "--attack", f"[{member(path)}]", *TINY, *more]),
    "export": lambda path, *more: export([path, "--output", "out", *more]),
    "set": lambda path, *more: make_set(
        ["--checkpoint", path, "--attack", "{type: optimization, weight: 1, steps: 1}", *SET, *more]
    ),
    "set of members": lambda path, *more: make_set([*PLAIN, "--attack", member(path), *SET, *more]),
    "sources": lambda path, *more: fit(
        [
            *TRAIN,
            "--model.objective",
            "EnsembleAdversarial",
            f'--model.objective.sources=[{{checkpoint: "{path}"}}]',
            *more,
        ]
    ),
}
PYTHON = {
    "network": load_checkpoint,
    "member": lambda path: Member(checkpoint=str(path)).load(),
    "source": lambda path: SourceNetwork(checkpoint=str(path)).load(),
}


@pytest.mark.parametrize("door", COMMANDS)
def test_no_command_imports_what_a_file_names(gift, door, capsys):
    with pytest.raises(SystemExit) as stop:
        COMMANDS[door](str(gift / "last.ckpt"))
    assert stop.value.code in (1, 2)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "names the class 'gifts.nice.weights_info.Net', and to import it runs code" in line
    assert "--trust" in line
    assert not (gift / "ran").exists()


@pytest.mark.parametrize("door", COMMANDS)
def test_with_trust_every_command_does(gift, door):
    flag = ["--trust"] if door != "sources" else ["--trust", "true"]
    COMMANDS[door](str(gift / "last.ckpt"), *flag)
    assert (gift / "ran").exists()
    assert not current_trust().files  # it ends with the command


@pytest.mark.parametrize("door", ["evaluate", "export", "set"])
def test_the_same_path_on_the_command_line_vouches_for_it(gift, door, capsys):
    with pytest.raises(SystemExit):
        COMMANDS[door](str(gift / "last.ckpt"), "--network", "gifts.nice.other.Net")
    assert not (gift / "ran").exists()
    COMMANDS[door](str(gift / "last.ckpt"), "--network", "gifts.nice.weights_info.Net")
    assert (gift / "ran").exists()


@pytest.mark.parametrize("door", PYTHON)
def test_in_python(gift, door):
    with pytest.raises(ValueError, match="to import it runs code"):
        PYTHON[door](gift / "last.ckpt")
    assert not (gift / "ran").exists()
    with trusting("gifts.nice.weights_info.Net"):
        PYTHON[door](gift / "last.ckpt")
    PYTHON[door](gift / "last.ckpt")  # its module is imported now


def test_a_module_that_imports_on_demand_is_not_asked(gift, tmp_path):
    (tmp_path / "lazy.py").write_text(
        "def __getattr__(name):\n    import gifts.nice.weights_info\n    return gifts.nice.weights_info.Net\n"
    )
    import lazy  # noqa: F401

    content = torch.load(gift / "last.ckpt")
    content["advinterp"]["network"]["name"] = "lazy.Net"
    torch.save(content, gift / "last.ckpt")
    with pytest.raises(ValueError, match=r"names the class 'lazy.Net'"):
        load_checkpoint(gift / "last.ckpt")
    assert not (gift / "ran").exists()
