"""Signals of job systems: SLURM's request to save and queue again, and SIGTERM to all processes of a run at once."""

import os
import signal
import sys
import time

import pytest
import torch
from forked import ForkedPython
from interruptions import CONFIG, STEPS, Runs, assert_same, terminate


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The surroundings of a job of one task; ``scontrol`` notes what it is told."""
    for key, value in {
        "NTASKS": "1",
        "JOB_ID": "77",
        "JOB_NAME": "train",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
    }.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    for key in ("NTASKS_PER_NODE", "ARRAY_JOB_ID"):
        monkeypatch.delenv(f"SLURM_{key}", raising=False)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tools / "told"}\n')
    (tools / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tools / "told"


@pytest.mark.parametrize(("array", "job"), [({}, "77"), ({"ARRAY_JOB_ID": "70", "ARRAY_TASK_ID": "3"}, "70_3")])
@pytest.mark.slow
def test_slurms_signal_saves_and_queues_again(tmp_path, monkeypatch, slurm, array, job):
    for key, value in array.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    runs = Runs(tmp_path / "runs", monkeypatch)
    runs.start("whole")
    runs.seen.clear()
    runs.at("training", 5, lambda: terminate(signal.SIGUSR1))
    assert runs.start("parts") == 128 + signal.SIGUSR1
    assert slurm.read_text() == f"requeue {job}\n"
    assert len(runs.seen) == 6
    assert runs.files("parts") == ["best.ckpt", "last.ckpt", "mid.ckpt"]  # and none of Lightning's own
    runs.start("parts")
    assert len(runs.seen) == 2 * STEPS
    assert_same(runs.content("whole"), runs.content("parts"))


def test_slurms_end_of_a_job_saves_and_leaves_the_queue_alone(tmp_path, monkeypatch, slurm):
    runs = Runs(tmp_path / "runs", monkeypatch).at("training", 5, terminate)
    assert runs.start("run") == 128 + signal.SIGTERM
    assert "mid.ckpt" in runs.files("run")
    assert not slurm.exists()


def test_two_signals_of_one_moment_queue_again_in_any_order(tmp_path, monkeypatch, slurm):
    def both():
        terminate()
        terminate(signal.SIGUSR1)

    runs = Runs(tmp_path / "runs", monkeypatch).at("training", 5, both)
    assert runs.start("run") == 128 + signal.SIGUSR1
    assert slurm.read_text() == "requeue 77\n"


def test_a_missing_scontrol_is_said(tmp_path, monkeypatch, slurm, caplog):
    (slurm.parent / "scontrol").unlink()
    runs = Runs(tmp_path / "runs", monkeypatch).at("training", 5, lambda: terminate(signal.SIGUSR1))
    assert runs.start("run") == 128 + signal.SIGUSR1
    assert "The job 77 could not be queued again" in caplog.text


def test_handlers_are_put_back(tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    Runs(tmp_path, monkeypatch, "--trainer.max_epochs", "1").start("run")
    assert signal.getsignal(signal.SIGTERM) is before


CHILD = """
import sys, time
from pathlib import Path
from lightning_advinterp.cli import train
from lightning_advinterp.training.module import RobustClassifier
step = RobustClassifier.training_step
def slow(self, batch, number):
    Path(sys.argv[1]).touch()
    time.sleep(0.3)
    return step(self, batch, number)
RobustClassifier.training_step = slow
train(sys.argv[2:])
"""


@pytest.mark.slow
def test_signals_to_all_processes_at_once_leave_the_step_whole(tmp_path, slurm):
    """The loaders' workers get them too; they leave the saving, the queueing and the ending to the training process."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    flags = ["--config", str(tmp_path / "config.yaml"), "--data.init_args.num_workers", "2", "--output", str(tmp_path)]
    (tmp_path / "script.py").write_text(CHILD)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "mark"), *flags]
    process = ForkedPython(command, captured=True)
    while not (tmp_path / "mark").exists():
        assert process.poll() is None, process.communicate(1)
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGUSR1)
    os.killpg(process.pid, signal.SIGTERM)  # what follows when SLURM queues the job again
    text = "".join(process.communicate(60))
    assert process.returncode == 128 + signal.SIGUSR1, text
    assert text.count("SIGUSR1: saved") == 1
    assert slurm.read_text() == "requeue 77\n"
    assert "Traceback" not in text
    saved = torch.load(tmp_path / "run" / "mid.ckpt", weights_only=True)
    assert saved["ConceptWorldDataModule"]["order"]["batches"] == saved["global_step"] >= 1
