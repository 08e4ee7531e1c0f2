"""What is looked at before a training starts, so that it fails in its first second rather than after hours."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging

from lightning_advinterp.callbacks.analysis import AnalysisCallback
from lightning_advinterp.data.module_base import ImageDataModule
from lightning_advinterp.files import check_writable
from lightning_advinterp.module import RobustClassifier
from lightning_advinterp.resume import Start, check_fits
from lightning_advinterp.run_directory import RunDirectory


def check(settings: Any, directory: RunDirectory, trainer: pl.Trainer) -> Start | None:
    """See that a run can go through to its end, and return where it goes on.

    Args:
        settings: the parsed configuration, with what was built from it.
        directory: the run's folder.
        trainer: built from them. The first process of each machine looks at the data, since it alone prepares them (by
            a download, for instance); the first of all writes to the folder.

    Raises:
        FileNotFoundError, ValueError: if data, layers, room or a checkpoint are missing, or that one is of another run.
        OSError: if a folder cannot be written.
    """
    if settings.checkpoint is not None:
        check_monitor(settings.checkpoint.monitor, settings)
    start = directory.start(settings.resume)
    if start is not None:
        averaged = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        check_fits(start, settings.model, settings.trainer.max_epochs, averaged=averaged)
    settings.model.objective.check(settings.model.network)
    if isinstance(settings.data, ImageDataModule) and trainer.local_rank == 0:
        settings.data.prepare_data()
        settings.data.setup("fit")
        settings.data.train_dataloader()
        settings.data.val_dataloader()
        for watcher in (settings.accuracy, settings.dissection, settings.semantics, settings.fragility):
            if watcher is not None:
                watcher.prepare(settings.model, settings.data)
    if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        if settings.export is not None and settings.export.folder is not None:
            check_writable(Path(settings.export.folder), "export.folder")
        directory.prepare(checkpoint_bytes(settings.model, averaged=settings.ema is not None))
    return start


def checkpoint_bytes(model: RobustClassifier, *, averaged: bool) -> int:
    """Return the size of a checkpoint, roughly: the weights, what the optimiser keeps of each, and their average."""
    weights: int = sum(tensor.nbytes for tensor in model.state_dict().values())
    return weights * (1 + (2 if model.optimizer_config.name == "adamw" else 1) + averaged)


def check_monitor(monitor: str | None, settings: Any) -> None:
    """Refuse a ``best.ckpt`` by a value that nothing logs, which would show after the first epoch.

    Args:
        monitor: the value's log key.
        settings: as in :func:`check`; callbacks of the user's own may log anything.

    Raises:
        ValueError: naming the values that there are, or who would log this one.
    """
    if monitor is None or settings.trainer.callbacks:
        return
    kind = monitor.partition("/")[0]
    keys = {"distances": "semantics"} | {name: name for name in ("dissection", "semantics", "fragility")}
    key = keys.get(kind)
    if key is not None and not _every_epoch(settings[key]):
        raise ValueError(
            f"checkpoint.monitor: {monitor} is not logged in every epoch; set {key}, with {key}.every_n_epochs: 1."
        )
    attacks = settings.accuracy.attacks() if _every_epoch(settings.accuracy) else ()
    known = ["val/acc", "val/acc5", "val/loss", *(f"val/{name}_acc" for name in attacks)]
    if kind == "val" and monitor not in known:
        raise ValueError(
            f"checkpoint.monitor: {monitor} is not logged in every epoch; choose one of {', '.join(known)}, "
            "or name that attack in accuracy.attacks, with accuracy.every_n_epochs: 1."
        )


def _every_epoch(watcher: AnalysisCallback | None) -> bool:
    return watcher is not None and watcher.every_n_epochs == 1
