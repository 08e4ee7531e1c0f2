"""Wherever an exception comes from, and whoever is killed, the command ends at once and leaves no process behind."""

import atexit
import logging
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from interruptions import CONFIG
from pytorch_lightning.loggers import TensorBoardLogger

from lightning_advinterp.cli import train
from lightning_advinterp.data.concept_world import ConceptWorld
from lightning_advinterp.training.callbacks import AccuracyCallback, GuardCallback
from lightning_advinterp.training.module import RobustClassifier

SECONDS = 40.0
"""What a run of a few batches takes on a busy machine; without the mend it took for ever."""


def children_of(pid):
    """The living processes below one, of Linux."""
    children = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            children.add(int(stat.parent.name))
    return children


def start(tmp_path, prepare, *flags):
    """Fork, train with two workers per loader, and run what the interpreter runs at its end; return the child."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    pid = os.fork()
    if pid:
        return pid
    output = os.open(tmp_path / "output", os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1), os.dup2(output, 2)
    sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1)
    logging.getLogger("lightning_advinterp").addHandler(logging.StreamHandler(sys.stdout))
    code = 0
    try:
        os.setpgid(0, 0)
        prepare()
        flags = ["--output", str(tmp_path), "--data.init_args.num_workers", "2", *flags]
        train(["--config", str(tmp_path / "config.yaml"), *flags])
    except SystemExit as stop:
        code, stopped = stop.code, stop  # noqa: F841 (as the interpreter keeps it, with its frames)
    atexit._run_exitfuncs()
    os._exit(code if isinstance(code, int) else 1)


def status(pid, workers=frozenset()):
    """Wait for the exit and return its status; no worker may outlive it."""
    until, processes = time.monotonic() + SECONDS, set(workers)
    while time.monotonic() < until:
        processes |= children_of(pid)
        done, state = os.waitpid(pid, os.WNOHANG)
        if done:
            time.sleep(0.1)
            assert not [child for child in processes if Path(f"/proc/{child}").exists()], "orphans"
            return os.waitstatus_to_exitcode(state)
        time.sleep(0.02)
    for process in {pid, *processes}:
        os.kill(process, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail(f"alive after {SECONDS} s")


def fails(self, *_, **__):
    raise RuntimeError("broken on purpose")


def after_sanity(self, *_, **__):
    if not self.trainer.sanity_checking:
        raise RuntimeError("broken on purpose")


PLACES = {
    "training step": lambda: setattr(RobustClassifier, "training_step", fails),
    "sanity check": lambda: setattr(RobustClassifier, "validation_step", fails),
    "validation step": lambda: setattr(RobustClassifier, "validation_step", after_sanity),
    "analysis of a callback": lambda: setattr(AccuracyCallback, "scalars", fails),
    "callback at the start": lambda: setattr(GuardCallback, "on_train_start", fails),
    "callback at the end of an epoch": lambda: setattr(GuardCallback, "on_train_epoch_end", fails),
    "optimizer": lambda: setattr(torch.optim.SGD, "step", fails),
    "checkpoint": lambda: setattr(RobustClassifier, "on_save_checkpoint", fails),
    "logger": lambda: setattr(TensorBoardLogger, "log_metrics", fails),
    "data set": lambda: setattr(ConceptWorld, "__getitem__", fails),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.slow
def test_a_fault_ends_the_command_at_once(tmp_path, place):
    code = status(start(tmp_path, PLACES[place]))
    output = (tmp_path / "output").read_text()
    assert code == 1, output
    line = output.strip().splitlines()[-1]
    assert line.startswith("error: RuntimeError: broken on purpose"), output
    assert "broken on purpose" in (tmp_path / "run" / "traceback.txt").read_text()
    assert "Traceback" not in output


def slow(mark):
    """Let every training step take a while, so that a signal meets one."""
    step = RobustClassifier.training_step

    def slowly(self, batch, number):
        mark.touch()
        time.sleep(0.5)
        return step(self, batch, number)

    RobustClassifier.training_step = slowly


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("target", "number", "code", "message"),
    [
        ("all", signal.SIGINT, 130, "SIGINT: saved"),
        ("command", signal.SIGINT, 130, "SIGINT: saved"),
        ("command", signal.SIGTERM, 143, "SIGTERM: saved"),
        ("worker", signal.SIGKILL, 1, r"is killed by signal: Killed. Mostly the memory did not suffice: set fewer num"),
    ],
)
@pytest.mark.slow
def test_signals_leave_one_line_and_no_process(tmp_path, target, number, code, message):
    pid = start(tmp_path, lambda: slow(tmp_path / "mark"))
    until = time.monotonic() + SECONDS
    while not (tmp_path / "mark").exists() and time.monotonic() < until:
        time.sleep(0.02)
    workers = children_of(pid)
    assert workers
    if target == "all":
        os.killpg(pid, number)
    else:
        os.kill(pid if target == "command" else max(workers), number)
    assert status(pid, workers) == code, (tmp_path / "output").read_text()
    output = (tmp_path / "output").read_text()
    assert message in output
    assert "Traceback" not in output
    assert number == signal.SIGKILL or (tmp_path / "run" / "mid.ckpt").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.slow
def test_a_second_interrupt_does_not_wait_for_the_step(tmp_path):
    def prepare():
        slow(tmp_path / "mark")
        RobustClassifier.on_before_optimizer_step = lambda *_: time.sleep(3600)

    pid = start(tmp_path, prepare)
    until = time.monotonic() + SECONDS
    while not (tmp_path / "mark").exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(1.0)
    workers = children_of(pid)
    os.killpg(pid, signal.SIGINT)
    time.sleep(0.3)
    os.killpg(pid, signal.SIGINT)
    assert status(pid, workers) == 130, (tmp_path / "output").read_text()
    assert "Stopped at once" in (tmp_path / "output").read_text()
