"""SIGTERM to a run on two processes: both end after the same step, and go on from there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from digests import digest
from interruptions import CONFIG

TESTS = Path(__file__).parents[1]
SCRIPT = """
import os, sys, time
from pathlib import Path
from lightning_advinterp.cli import train
from lightning_advinterp.training.module import RobustClassifier
folder, step = Path(sys.argv[1]), RobustClassifier.training_step
slow = not (folder / "mark").exists() and folder.name == "parts"
def noted(self, batch, number):
    with (folder / f"seen{self.global_rank}").open("a") as file:
        file.write(f"{self.current_epoch} {number} {batch.index.tolist()}\\n")
    if slow and self.trainer.global_step >= 1:
        (folder / "mark").touch()
        time.sleep(0.6 if self.global_rank else 0.3)  # one is always ahead of the other
    return step(self, batch, number)
RobustClassifier.training_step = noted
train([*sys.argv[2:], "--output", str(folder)])
"""


@pytest.mark.ddp
@pytest.mark.slow
def test_both_processes_stop_after_the_same_step(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", f"{TESTS.parent}:{TESTS}")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    flags = ("--trainer.strategy=ddp", "--trainer.devices=2", "--data.init_args.batch_size=4", "--guard=null")

    def start(name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-W", "ignore", str(tmp_path / "script.py"), str(folder)]
        with (folder / "log").open("a") as log:
            return subprocess.Popen(
                [*command, "--config", str(tmp_path / "config.yaml"), *flags], stdout=log, stderr=log
            )

    assert start("whole").wait(120) == 0
    stopped = start("parts")
    while not (tmp_path / "parts" / "mark").exists():
        assert stopped.poll() is None, (tmp_path / "parts" / "log").read_text()
        time.sleep(0.05)
    os.kill(stopped.pid, signal.SIGTERM)
    assert stopped.wait(60) == 128 + signal.SIGTERM
    assert (tmp_path / "parts" / "run" / "mid.ckpt").exists()
    assert start("parts").wait(120) == 0
    for rank in (0, 1):  # each process saw each of its samples once, in the same order
        assert (tmp_path / "parts" / f"seen{rank}").read_text() == (tmp_path / "whole" / f"seen{rank}").read_text()
    uninterrupted, resumed = (
        torch.load(tmp_path / name / "run" / "last.ckpt", weights_only=True) for name in ("whole", "parts")
    )
    assert digest(uninterrupted["state_dict"]) == digest(resumed["state_dict"])
