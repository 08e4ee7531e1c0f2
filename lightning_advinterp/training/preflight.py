"""What is looked at before a training starts, so that it fails in its first second rather than after hours."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.utilities.model_helpers import is_overridden

from lightning_advinterp.core.files import check_writable
from lightning_advinterp.datamodules.base import ImageDataModule
from lightning_advinterp.datamodules.described import describe
from lightning_advinterp.networks.deterministic import refused_operations
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.trial import try_network
from lightning_advinterp.objectives import Standard
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.monitors import check_monitors, check_validated
from lightning_advinterp.training.optimization import check_length
from lightning_advinterp.training.resume import Start, check_classes, check_fits
from lightning_advinterp.training.run_directory import RunDirectory
from lightning_advinterp.training.same_run import check_same_run

_log = logging.getLogger(__name__)


def check(settings: Any, directory: RunDirectory, trainer: pl.Trainer, config_text: str) -> Start | None:
    """See that a run can go through to its end, and return where it goes on.

    Args:
        settings: the parsed configuration, with what was built from it.
        directory: the run's folder.
        trainer: built from them. The first process of each machine looks at the data, since it alone prepares them (by
            a download, for instance); the first of all writes to the folder.
        config_text: the resolved configuration.

    Raises:
        FileNotFoundError, ValueError: if data, layers, room or a checkpoint are missing, or that one is of another run.
        OSError: if a folder cannot be written.
    """
    check_monitors(settings, trainer)
    _say_what_has_no_effect(settings.model)
    start = directory.start(settings.resume)
    if start is not None:
        averaged = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        check_fits(start, settings.model, settings.trainer.max_epochs, averaged=averaged)
        if not settings.allow_changes:
            check_same_run(start.path.parent / directory.config.name, config_text)
    if isinstance(settings.data, ImageDataModule) and trainer.local_rank == 0:
        settings.data.prepare_data()
        settings.data.setup("fit")
        steps_per_epoch: int | None = len(settings.data.train_dataloader())
        settings.data.val_dataloader()
        settings.model.take_classes(settings.data)
        if trainer.is_global_zero:
            _log.warning("%s", _data_line(settings.data))
        if start is not None:
            check_classes(start, settings.model)
        for callback in _watchers(trainer):
            callback.prepare(settings.model, settings.data)
    else:
        steps_per_epoch = 1  # not known before the loader is; what depends on it is refused then
    _check_network(settings, trainer)
    endless = trainer.max_epochs == -1 and trainer.max_steps == -1
    check_length(settings.model.schedule_config, None if endless else 1, steps_per_epoch)
    if trainer.local_rank == 0:
        _check_validation(settings, trainer)
    if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        if settings.export is not None and settings.export.folder is not None:
            check_writable(Path(settings.export.folder), "export.folder")
        directory.prepare(checkpoint_bytes(settings.model, averaged=settings.ema is not None))
    return start


def _data_line(data: ImageDataModule) -> str:
    """Return how many images the splits have that are there, and how many classes."""
    splits = {"training": data.train_dataset, "validation": data.val_dataset, "test": data.test_dataset}
    counts = ", ".join(f"{len(images):,} {name}" for name, images in splits.items() if images is not None)
    classes = describe(data).classes
    return f"data           images: {counts}" + (f"; {len(classes)} classes" if classes else "")


def _check_network(settings: Any, trainer: pl.Trainer) -> None:
    """See that the network takes images of the data's size, and that objective and attacks can be made on it."""
    model: RobustClassifier = settings.model
    origin, network = model.network.origin, model.network
    attacks = [attack for callback in _watchers(trainer) for attack in callback.attacks().values()]
    if trainer.is_global_zero:
        for line in origin.lines(network.mean, network.std, network.input_size):
            _log.warning("%s", line)
    if trainer.local_rank == 0:
        gradient = not isinstance(model.objective, Standard) or any(attack.cost[1] > 0 for attack in attacks)
        remedy = (
            "Give the data's image_size the side that it takes, or model.stem and model.network_options that suit it."
        )
        try_network(network, network.input_size, gradient=gradient, training=True, remedy=remedy)
        for attack in attacks:
            attack.check_network(network)
    if trainer.is_global_zero and settings.trainer.deterministic is True:
        _say_what_may_raise(network, trainer.strategy.root_device.type)
    model.objective.check(network)


def _say_what_may_raise(network: Network, device: str) -> None:
    operations = refused_operations(network) if device != "cpu" else []
    if operations:
        _log.warning(
            "trainer.deterministic: %s has %s, whose gradient PyTorch may refuse on %s; if it does, set "
            "trainer.deterministic: warn.",
            *(network.name, " and ".join(operations), device),
        )


def _watchers(trainer: pl.Trainer) -> list[AnalysisCallback]:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, AnalysisCallback)]


def checkpoint_bytes(model: RobustClassifier, *, averaged: bool) -> int:
    """Return the size of a checkpoint, roughly: the weights, what the optimiser keeps of each, and their average."""
    weights: int = sum(tensor.nbytes for tensor in model.state_dict().values())
    return weights * (1 + (2 if model.optimizer_config.name == "adamw" else 1) + averaged)


def validates(data: pl.LightningDataModule, trainer: pl.Trainer) -> bool:
    """Whether a training looks at validation images at all; the data must be set up."""
    epochs_between, epochs = trainer.check_val_every_n_epoch, trainer.max_epochs
    if trainer.limit_val_batches == 0 or (
        epochs_between is not None and epochs is not None and 0 < epochs < epochs_between
    ):
        return False
    if isinstance(data, ImageDataModule):
        return bool(data.val_dataset)
    return is_overridden("val_dataloader", data, pl.LightningDataModule)


def _check_validation(settings: Any, trainer: pl.Trainer) -> None:
    if validates(settings.data, trainer):
        return
    unkept = check_validated(settings)
    _log.warning(
        "Nothing is validated in this run%s.",
        f": no best.ckpt is kept by {', '.join(unkept)}, and no analysis runs" if unkept else ", and no analysis runs",
    )


def _say_what_has_no_effect(model: RobustClassifier) -> None:
    for key, config in (("optimizer", model.optimizer_config), ("schedule", model.schedule_config)):
        for name in config.without_effect:
            _log.warning("model.%s.%s has no effect with %s.", key, name, config.name)
