"""A request to stop: SIGTERM, or the signal by which SLURM announces that a job's time is over."""

import logging
import os
import signal
import subprocess
import threading
from types import FrameType
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

_log = logging.getLogger(__name__)


class Termination:
    """Notes signals, and says at a step's end, on all processes alike, whether to stop.

    Lightning's own handlers raise wherever a process is (SIGTERM, ending with status 0) or save inside a step (SLURM's
    signal). Here a signal only leaves a note, so that what is saved is the state between two steps.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.at_once = False
        """Nothing is to be saved at this moment: a signal ends the process where it is."""
        self._trainer: pl.Trainer | None = None
        self._interrupt: object = None
        self._group: Any = None
        self._on_its_way: tuple[Any, torch.Tensor] | None = None

    def listen(self, trainer: pl.Trainer) -> None:
        """Take the place of Lightning's handlers; it puts the earlier ones back after the training."""
        self._trainer = trainer
        if threading.current_thread() is not threading.main_thread():
            return  # signals reach the main thread alone
        for number in (signal.SIGTERM, _requeue_signal(trainer)):
            if number is not None:
                signal.signal(number, self._note)
        if self._interrupt is None:
            self._interrupt = signal.signal(signal.SIGINT, self._note)

    def forget(self) -> None:
        """Put the handler of Ctrl-C back, of which Lightning takes no care."""
        if self._interrupt is not None:
            signal.signal(signal.SIGINT, self._interrupt)  # type: ignore[arg-type]  # what signal.signal returned
            self._interrupt = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        assert self._trainer is not None
        repeated = number == signal.SIGINT and self.received == number
        launcher = self._trainer.strategy.launcher
        if self.received is None and launcher is not None and number != signal.SIGINT:
            launcher.kill(number)  # the processes that this one started; a terminal tells them of Ctrl-C itself
        queue_again = self.received == signal.SIGTERM and number == _requeue_signal(self._trainer)
        if self.received is None or queue_again:  # two signals at once arrive in any order; SLURM's asks for more
            self.received = number
        if self.at_once:
            self.stop("The last checkpoint holds everything")
        if repeated:
            self.stop("Stopped at once; the last checkpoint holds all but the latest steps")
        if number == signal.SIGINT and self._trainer.is_global_zero:
            _log.warning("Ctrl-C: stopping at the end of this step; once more: at once.")

    def asked(self, trainer: pl.Trainer, *, wait: bool = True) -> bool:
        """Whether any process received a signal; all processes must call this together.

        Args:
            trainer: with the processes.
            wait: for the answer; else it is that of the call before, which has arrived in the meantime. After every
                batch nobody should wait for the others, and no accelerator for its host.
        """
        if trainer.world_size == 1:
            return self.received is not None
        earlier = self._arrived()
        if wait or not (dist.is_initialized() and dist.is_gloo_available()):
            return trainer.strategy.reduce_boolean_decision(earlier or self.received is not None, all=False)
        if self._group is None:
            self._group = dist.new_group(backend="gloo")  # in main memory, beside whatever the gradients take
        note = torch.tensor(int(self.received is not None))
        work = dist.all_reduce(note, dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._on_its_way = (work, note)
        return earlier

    def _arrived(self) -> bool:
        """Return what all processes said at the call before."""
        if self._on_its_way is None:
            return False
        (work, note), self._on_its_way = self._on_its_way, None
        work.wait()
        return bool(note)

    def stop(self, saved: str) -> NoReturn:
        """End the process with the shells' status for a signal, 128 + its number, after asking SLURM for another turn.

        Args:
            saved: what was saved.
        """
        assert self._trainer is not None
        number = self.received or int(signal.SIGTERM)
        if self._trainer.is_global_zero:
            _log.warning("%s: %s; the same command goes on from there.", signal.Signals(number).name, saved)
            if number == _requeue_signal(self._trainer):
                _requeue()
        raise SystemExit(128 + number)


def in_an_allocations_shell() -> bool:
    """Whether SLURM's variables are there, but not what ``srun`` tells every process that it starts."""
    variables = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
    return SLURMEnvironment.detect() and any(name not in os.environ for name in variables)


def _requeue_signal(trainer: pl.Trainer) -> int | None:
    """The signal that asks to save and to queue again; None outside SLURM, or where requeueing is switched off."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if environment is None and SLURMEnvironment.detect() and not in_an_allocations_shell():
        environment = SLURMEnvironment()
    if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return None
    return None if environment.requeue_signal is None else int(environment.requeue_signal)


def _requeue() -> None:
    """``scontrol requeue`` of this job, or of this task of an array of jobs."""
    job = os.environ.get("SLURM_JOB_ID", "")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        _log.warning("The job %s could not be queued again (%s); start the same command again.", job, error)
