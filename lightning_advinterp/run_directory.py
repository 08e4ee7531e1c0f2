"""The folder of one training run: its configuration, its checkpoints, and what a resumed run finds there."""

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_advinterp.files import write_text

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointConfig:
    """Which checkpoint is kept as ``best.ckpt``, beside the ``last.ckpt`` that every epoch writes.

    Attributes:
        monitor: the log key that decides, such as ``val/acc`` or ``val/pgd_acc``; it must be logged every epoch.
        mode: whether it should rise (``max``) or fall (``min``).
    """

    monitor: str = "val/acc"
    mode: Literal["min", "max"] = "max"


@dataclass(frozen=True)
class RunDirectory:
    """``<output>/<name>``: config.yaml, last.ckpt, best.ckpt and TensorBoard's event files.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration of the latest start."""
        return self.path / "config.yaml"

    @property
    def last(self) -> Path:
        """The checkpoint of the last finished epoch."""
        return self.path / "last.ckpt"

    def checkpoint_to_resume(self, resume: str) -> Path | None:
        """Return where to go on: ``auto`` means the last checkpoint, if there is one, and ``never`` none.

        Raises:
            FileNotFoundError: if ``resume`` names a file that does not exist.
            ValueError: if ``never`` would overwrite the checkpoints of an earlier run.
        """
        if resume == "auto":
            return self.last if self.last.exists() else None
        if resume == "never":
            if self.last.exists():
                raise ValueError(
                    f"resume: never, but {self.path} holds an earlier run's checkpoints; "
                    "choose another name, or remove that folder."
                )
            return None
        path = Path(resume)
        if not path.is_file():
            raise FileNotFoundError(f"resume: expected auto, never or a checkpoint file, but there is no {path}.")
        return path

    def save_config(self, text: str) -> None:
        """Write config.yaml; one that differs is kept as ``config.<n>.yaml``, and the differences are logged."""
        if self.config.exists():
            old = self.config.read_text(encoding="utf-8")
            if old == text:
                return
            number = 0
            while (kept := self.path / f"config.{number}.yaml").exists():
                number += 1
            write_text(kept, old)
            changes = difflib.unified_diff(old.splitlines(), text.splitlines(), kept.name, "config.yaml", "", "", 0)
            _log.warning("The configuration differs from this run's earlier start:\n%s", "\n".join(changes))
        write_text(self.config, text)

    def checkpoint_callbacks(self, config: CheckpointConfig | None) -> list[ModelCheckpoint]:
        """Return what writes ``last.ckpt`` after every epoch, and ``best.ckpt`` where one is monitored."""
        last = ModelCheckpoint(self.path, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        if config is None:
            return [last]
        best = ModelCheckpoint(
            self.path,
            filename="best",
            monitor=config.monitor,
            mode=config.mode,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        return [best, last]
