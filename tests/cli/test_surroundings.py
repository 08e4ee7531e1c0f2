"""What the surroundings of a command may be: strategies, SLURM's variables, no validation images."""

import re

import pytest
from interruptions import Runs

from lightning_advinterp.cli import train

ALLOCATION = {"NTASKS": "4", "NNODES": "1", "JOB_ID": "77", "JOB_NAME": "mine", "JOB_NODELIST": "here"}


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook", "ddp_spawn_find_unused_parameters_true"])
def test_strategies_that_copy_the_process_are_refused_first(tmp_path, monkeypatch, capsys, strategy):
    runs = Runs(tmp_path, monkeypatch)
    assert runs.start("run", "--trainer.strategy", strategy, "--trainer.devices", "2") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(rf"^error: trainer.strategy: {strategy} copies this process, .*; use trainer.strategy: ddp,", line)
    assert not runs.seen


def test_an_allocations_shell_is_no_job_step(tmp_path, monkeypatch, caplog):
    for name in ("PROCID", "LOCALID", "NODEID", "NTASKS_PER_NODE"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    for name, value in ALLOCATION.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    runs = Runs(tmp_path, monkeypatch, "--trainer.max_epochs", "1")
    runs.start("run")
    assert "last.ckpt" in runs.files("run")
    assert "srun did not start this" in caplog.text


def test_a_step_that_does_not_fit_the_devices_is_one_line(tmp_path, monkeypatch, capsys):
    for name, value in (ALLOCATION | dict.fromkeys(("PROCID", "LOCALID", "NODEID"), "0")).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    assert Runs(tmp_path, monkeypatch).start("run", "--trainer.devices", "2", "--trainer.strategy", "ddp") == 2
    assert re.search(r"^error: trainer: .*--ntasks-per-node", capsys.readouterr().err.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--trainer.limit_val_batches", "0"), "Accuracy on validation images"),
        (("--data", "monitors_of_users.OnlyTraining"), "There are no validation images"),
        (("--data", "monitors_of_users.OwnLoader"), "There are no validation images"),
    ],
    ids=["no batches", "no images", "no loader"],
)
def test_the_last_words_without_a_validation(tmp_path, monkeypatch, capsys, flags, words):
    runs = Runs(tmp_path, monkeypatch, "--trainer.max_epochs", "1")
    if "--data" in flags:
        flags = (*flags, "--data.init_args.seed", "3")
        config = tmp_path / "config.yaml"
        config.write_text(re.sub(r"data:\n.*\n.*\n", "", config.read_text()))
    runs.start("run", *flags, command=train)
    assert words in capsys.readouterr().out
    assert "last.ckpt" in runs.files("run")
