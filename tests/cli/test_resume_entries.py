"""A training checkpoint with an entry of another kind ends in one line, wherever that entry is taken up."""

import copy
import logging

import pytest
import torch
from lanes import few_fast

from lightning_advinterp.cli import fit

FLAGS = (
    *("--output", "runs", "--trainer.accelerator", "cpu", "--trainer.logger", "false"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.num_sanity_val_steps", "0", "--model.network", "helpers.SmallBackbone", "--model.schedule.name"),
    *("constant", "--data", "ConceptWorldDataModule", "--data.train_size", "4", "--data.val_size", "4"),
    *(
        "--data.image_size",
        "16",
        "--data.batch_size",
        "4",
        "--guard",
        "null",
        "--pictures",
        "null",
        "--accuracy",
        "null",
    ),
    *("--checkpoint.monitor", "null", "--pictures", "null", "--accuracy", "null"),
)
WRONG = (None, "text", [1], torch.zeros(2))
ENTRIES = (
    ("state_dict", "network.backbone.conv1.weight"),
    ("loops",),
    ("advinterp", "network"),
    ("epoch",),
    ("pytorch-lightning_version",),
    ("global_step",),
    ("state_dict",),
    ("loops", "fit_loop"),
    ("loops", "fit_loop", "epoch_progress", "current", "processed"),
    ("loops", "fit_loop", "epoch_loop.batch_progress"),
    ("loops", "fit_loop", "epoch_loop.state_dict"),
    ("callbacks",),
    ("optimizer_states",),
    ("optimizer_states", 0),
    ("optimizer_states", 0, "state"),
    ("optimizer_states", 0, "param_groups"),
    ("lr_schedulers",),
    ("lr_schedulers", 0),
    ("advinterp",),
    ("advinterp", "classes"),
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        fit([*FLAGS, "--name", "a", "--trainer.max_epochs", "1"])
        return torch.load("runs/a/last.ckpt")


@pytest.mark.parametrize("entry", few_fast(ENTRIES, fast=4), ids=lambda entry: "/".join(map(str, entry)))
def test_entries_of_another_kind(tmp_path, monkeypatch, capsys, caplog, good, entry):
    caplog.set_level(logging.ERROR)
    monkeypatch.chdir(tmp_path)
    for number, wrong in enumerate(WRONG):
        changed = copy.deepcopy(good)
        inner = changed
        for key in entry[:-1]:
            inner = inner[key]
        inner[entry[-1]] = wrong
        torch.save(changed, "bad.ckpt")
        try:
            fit([*FLAGS, "--name", str(number), "--trainer.max_epochs", "2", "--resume", "bad.ckpt"])
        except SystemExit as stop:
            assert stop.code in (1, 2)  # noqa: PT017
            (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
            assert "bad.ckpt" in line
            assert "traceback" not in line
