"""Where files beside the log go."""

from pathlib import Path

import pytorch_lightning as pl


def log_folder(trainer: pl.Trainer) -> Path | None:
    """Return where files beside the log go: where a logger writes, else the run's folder; None without a logger."""
    folder = next((logger.log_dir for logger in trainer.loggers if logger.log_dir), None)
    if folder is None and trainer.loggers and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        folder = trainer.default_root_dir
    return None if folder is None else Path(folder)
