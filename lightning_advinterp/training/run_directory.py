"""The folder of one training run: its configuration, its checkpoints, and what a resumed run finds there."""

import difflib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint

from lightning_advinterp.core.files import check_writable, remove_unfinished, write_text
from lightning_advinterp.core.names import require_inside
from lightning_advinterp.training.callbacks.mid_epoch import MidEpochCallback
from lightning_advinterp.training.callbacks.monitors import BestCheckpoint
from lightning_advinterp.training.checkpoint_io import AtomicCheckpointIO
from lightning_advinterp.training.resume import Start, examine, newest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointConfig:
    """Which checkpoint is kept as ``best.ckpt``, and what is written beside the ``last.ckpt`` of every epoch.

    Attributes:
        monitor: the log key that decides, such as ``val/acc`` or ``val/pgd_acc``; it must be logged in every validation
            (an epoch without one is passed over). None: no ``best.ckpt``.
        mode: whether it should rise (``max``) or fall (``min``).
        every_n_steps: also write ``mid.ckpt`` every so many optimiser steps within an epoch (it is written before every
            validation and on SIGTERM in any case): what a killed run loses at most.
    """

    monitor: str | None = "val/acc"
    mode: Literal["min", "max"] = "max"
    every_n_steps: int | None = None

    def __post_init__(self) -> None:
        if self.every_n_steps is not None and self.every_n_steps < 1:
            raise ValueError(f"checkpoint.every_n_steps must be 1 or more, got {self.every_n_steps}; null: never.")


@dataclass(frozen=True)
class RunDirectory:
    """``<output>/<name>``: config.yaml, last.ckpt, previous.ckpt, best.ckpt and TensorBoard's event files.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def of(cls, output: str, name: str) -> "RunDirectory":
        """Return the folder of a run.

        Raises:
            ValueError: if its name leaves the folder of all runs.
        """
        require_inside(name, "name")
        return cls(Path(output) / name)

    @property
    def config(self) -> Path:
        """The resolved configuration of the latest start."""
        return self.path / "config.yaml"

    @property
    def last(self) -> Path:
        """The checkpoint of the last finished epoch."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint that was best by what is monitored."""
        return self.path / "best.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint of the epoch before that, for the case that the last one gets damaged."""
        return self.path / "previous.ckpt"

    @property
    def mid_epoch(self) -> Path:
        """The latest checkpoint from within the epoch under way."""
        return self.path / "mid.ckpt"

    def start(self, resume: str) -> Start | None:
        """Return where to go on: ``auto`` means the furthest checkpoint that is whole, if any, and ``never`` none.

        Raises:
            FileNotFoundError: if ``resume`` names a file that does not exist.
            ValueError: if that file cannot be read, or ``auto`` finds none that can be, or ``never`` would overwrite
                the checkpoints of an earlier run.
        """
        checkpoints = [self.last, self.mid_epoch, self.previous]
        if resume == "auto":
            return newest(checkpoints)
        if resume == "never":
            if any(path.exists() for path in checkpoints):
                raise ValueError(
                    f"resume: never, but {self.path} holds an earlier run's checkpoints; "
                    "choose another name, or remove that folder."
                )
            return None
        path = Path(resume)
        if not path.is_file():
            raise FileNotFoundError(f"resume: expected auto, never or a checkpoint file, but there is no {path}.")
        return examine(path)

    def prepare(self, checkpoint_bytes: int) -> None:
        """Make the folder, clear what a killed process left half written, and see that there is room.

        Args:
            checkpoint_bytes: size of one checkpoint, roughly.

        Raises:
            OSError: if the folder cannot be written.
            ValueError: if there is no room for the checkpoints.
        """
        check_writable(self.path, "output")
        remove_unfinished(self.path)
        # Each checkpoint that is kept, and one that is being written.
        missing = [path for path in (self.last, self.previous, self.mid_epoch, self.best) if not path.exists()]
        needed, free = (len(missing) + 1) * checkpoint_bytes, shutil.disk_usage(self.path).free
        if free < needed:
            raise ValueError(
                f"output: {self.path} has {free / 1e6:,.0f} MB left, the checkpoints need about "
                f"{needed / 1e6:,.0f} MB; make room, or choose another output."
            )

    def save_config(self, text: str) -> None:
        """Write config.yaml; one that differs is kept as ``config.<n>.yaml``, and the differences are logged."""
        if self.config.exists():
            old = self.config.read_text(encoding="utf-8", errors="surrogateescape")  # kept as it is, whatever it is
            if old == text:
                return
            number = 0
            while (earlier := self.path / f"config.{number}.yaml").exists():
                number += 1
            write_text(earlier, old)
            names = (earlier.name, "config.yaml")
            changes = difflib.unified_diff(_said(old), _said(text), *names, n=0, lineterm="")
            if lines := list(changes):
                _log.warning("The configuration differs from this run's earlier start:\n%s", "\n".join(lines))
        write_text(self.config, text)

    @property
    def checkpoint_io(self) -> AtomicCheckpointIO:
        """How the run's checkpoints are written and read."""
        return AtomicCheckpointIO({self.last.name: self.previous.name})

    def checkpoint_callbacks(self, config: CheckpointConfig | None) -> list[Checkpoint]:
        """Return what writes ``last.ckpt`` after every epoch, ``mid.ckpt`` within, ``best.ckpt`` if monitored."""
        last = ModelCheckpoint(self.path, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        within = MidEpochCallback(self.mid_epoch, None if config is None else config.every_n_steps)
        if config is None or config.monitor is None:
            return [last, within]
        best = BestCheckpoint(
            self.path,
            filename="best",
            monitor=config.monitor,
            mode=config.mode,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        return [best, last, within]


def _said(text: str) -> list[str]:
    """Return the lines that say something: versions differ in which settings they write out as null."""
    return [line for line in text.splitlines() if not line.endswith(": null")]
