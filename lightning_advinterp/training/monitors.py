"""Values by which a run decides: who watches which, and whether it will be there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from lightning_advinterp.datamodules.lightning_internals import looks_at_epoch_end
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback

_ANALYSES = {"dissection": "dissection", "semantics": "semantics", "distances": "semantics", "fragility": "fragility"}
"""Kind of a log key to the configuration key of the callback that logs it."""
_CLEAN = ("val/acc", "val/acc5", "val/loss")
_GUARD = ("guard/pgd_acc", "guard/phi_norm", "guard/phi_shift")
_TIMES = ("time/images_per_second", "time/epoch_seconds", "time/data_share")


@dataclass(frozen=True)
class Monitor:
    """A value that decides something.

    Attributes:
        owner: the configuration key that names it, for messages.
        key: its log key.
        mode: ``min`` or ``max``.
        at_epoch_end: whether it is looked at when the training epoch is over, and not right after a validation; None:
            as Lightning decides it when the training starts.
        only_keeps: whether it only decides what is kept, so that a run without it is the same run.
    """

    owner: str
    key: str
    mode: str
    at_epoch_end: bool | None = True
    only_keeps: bool = False


def monitors(settings: Any) -> Iterator[Monitor]:
    """Yield what decides about checkpoints, the learning rate, and the end of the run.

    Args:
        settings: the parsed configuration, with what was built from it.
    """
    if settings.checkpoint is not None and settings.checkpoint.monitor is not None:
        yield Monitor("checkpoint.monitor", settings.checkpoint.monitor, settings.checkpoint.mode, only_keeps=True)
    schedule = settings.model.schedule_config
    if schedule.name == "plateau":
        yield Monitor("model.schedule.monitor", schedule.monitor, schedule.mode)
    for callback in _callbacks(settings):
        name = f"trainer.callbacks: {type(callback).__name__}.monitor"
        if isinstance(callback, EarlyStopping):
            yield Monitor(name, callback.monitor, callback.mode, looks_at_epoch_end(callback))
        elif isinstance(callback, ModelCheckpoint) and callback.monitor not in (None, "epoch", "step"):
            at_epoch_end = looks_at_epoch_end(callback)
            yield Monitor(name, str(callback.monitor), str(callback.mode), at_epoch_end, only_keeps=True)


def check_monitors(settings: Any, trainer: pl.Trainer) -> None:
    """Refuse what decides by a value that nothing logs in every validation, which would show hours later.

    Raises:
        ValueError: naming the values that there are, or who would log this one.
    """
    unsaid = trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1
    for monitor in monitors(settings):
        at_epoch_end = unsaid if monitor.at_epoch_end is None else monitor.at_epoch_end
        _check_mode(monitor)
        if monitor.key.startswith("train/"):
            _check_moment(monitor, at_epoch_end)
        elif not others_may_log(settings):
            _check_logged(monitor, at_epoch_end, settings)


def check_validated(settings: Any) -> list[str]:
    """Refuse what decides by the validation of a run that has none.

    Returns:
        The keys that decide about checkpoints alone: such a run keeps no best one.

    Raises:
        ValueError: naming what waits for a validation.
    """
    waiting = [
        monitor
        for monitor in monitors(settings)
        if monitor.key.startswith("val/") or monitor.key.partition("/")[0] in _ANALYSES
    ]
    for monitor in waiting:
        if not monitor.only_keeps:
            raise ValueError(
                f"{monitor.owner}: {monitor.key} is never logged, since nothing is validated (limit_val_batches: 0, no "
                "validation images, or check_val_every_n_epoch beyond the training's end); choose train/loss."
            )
    return [monitor.key for monitor in waiting]


def others_may_log(settings: Any) -> bool:
    """Whether there are callbacks of the user's own, which may log anything."""
    packages = {"pytorch_lightning", "lightning_advinterp"}
    return any(type(callback).__module__.partition(".")[0] not in packages for callback in _callbacks(settings))


def _check_mode(monitor: Monitor) -> None:
    last = monitor.key.rpartition("/")[2].removesuffix("_epoch")
    right = "min" if last.endswith("loss") else "max" if last.endswith(("acc", "acc5")) else monitor.mode
    if monitor.mode != right:
        raise ValueError(
            f"{monitor.owner}: {monitor.key} is better the {'smaller' if right == 'min' else 'larger'} it is, but the "
            f"mode is {monitor.mode}; set {monitor.owner.removesuffix('monitor')}mode: {right}."
        )


def _check_moment(monitor: Monitor, at_epoch_end: bool) -> None:
    if not at_epoch_end:
        raise ValueError(
            f"{monitor.owner}: {monitor.key} is known at the end of the training epoch; right after a validation, or "
            "every few steps, it would be one batch's of one process. Set check_on_train_epoch_end "
            "(save_on_train_epoch_end of a ModelCheckpoint) to true, or choose val/loss."
        )


def _check_logged(monitor: Monitor, at_epoch_end: bool, settings: Any) -> None:
    kind = monitor.key.partition("/")[0]
    owner = _ANALYSES.get(kind)
    if owner is not None:
        if not _every_epoch(settings[owner]):
            raise ValueError(
                f"{monitor.owner}: {monitor.key} is not logged in every epoch; set {owner}, with "
                f"{owner}.every_n_epochs: 1."
            )
        return
    attacks = settings.accuracy.attacks() if _every_epoch(settings.accuracy) else ()
    validated = [*_CLEAN, *(f"val/{name}_acc" for name in attacks)]
    logged = [*validated, "train/loss", *(_GUARD if settings.guard is not None else ()), *_TIMES]
    if monitor.key in logged and (at_epoch_end or monitor.key in validated):
        return
    if kind == "time" and monitor.key.endswith("Callback"):
        return
    raise ValueError(
        f"{monitor.owner}: {monitor.key} is not logged in every epoch; choose one of {', '.join(logged)}, "
        "or name that attack in accuracy.attacks, with accuracy.every_n_epochs: 1."
    )


def _every_epoch(watcher: AnalysisCallback | None) -> bool:
    return watcher is not None and watcher.every_n_epochs == 1


def _callbacks(settings: Any) -> list[Any]:
    callbacks = settings.trainer.callbacks
    return callbacks if isinstance(callbacks, list) else [] if callbacks is None else [callbacks]
