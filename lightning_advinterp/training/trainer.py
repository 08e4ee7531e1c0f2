"""Lightning's trainer with a run's folder, logger and plugins, or one line on why it cannot be built."""

import logging
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import TensorBoardLogger

from lightning_advinterp.datamodules.lightning_internals import copies_this_process
from lightning_advinterp.training.callbacks.termination import in_an_allocations_shell
from lightning_advinterp.training.layer_sync import SyncBatchNormPlugin
from lightning_advinterp.training.logs import RunCSVLogger
from lightning_advinterp.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)


def create_trainer(
    settings: dict[str, Any], directory: RunDirectory, callbacks: Sequence[pl.Callback], **kwargs: Any
) -> pl.Trainer:
    """Build the trainer.

    Args:
        settings: arguments of Lightning's trainer, as configured.
        directory: the run's folder.
        callbacks: in the order in which they act, after those of the settings.
        **kwargs: arguments that win over the settings.

    Raises:
        ValueError: if the machine, or this project, cannot do what the settings ask for.
    """
    settings = dict(settings)
    if settings.get("default_root_dir") not in (None, directory.path, str(directory.path)):
        _log.warning("trainer.default_root_dir has no effect: the run lies in %s, by output and name.", directory.path)
    if settings["logger"] in (None, True):
        curves = TensorBoardLogger(directory.path.parent, directory.path.name, version="", default_hp_metric=False)
        settings["logger"] = [curves, RunCSVLogger(directory.path)]
    settings["callbacks"] = [*as_list(settings["callbacks"]), *callbacks]
    settings["plugins"] = [*as_list(settings["plugins"]), directory.checkpoint_io]
    if settings["sync_batchnorm"]:
        settings["plugins"].append(SyncBatchNormPlugin())
    if in_an_allocations_shell() and not any(isinstance(plugin, ClusterEnvironment) for plugin in settings["plugins"]):
        _log.warning("SLURM's variables are those of an allocation, but srun did not start this: they are left alone.")
        settings["plugins"].append(LightningEnvironment())
    try:
        trainer = pl.Trainer(**settings | {"default_root_dir": directory.path} | kwargs)
        environment = getattr(trainer.strategy, "cluster_environment", None)
        if environment is not None:  # Lightning would do so when the training starts
            environment.validate_settings(num_devices=trainer.num_devices, num_nodes=trainer.num_nodes)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise ValueError(
            f"trainer: {str(error).rstrip('.!')}. Asked for were accelerator={settings['accelerator']!r} and "
            f"devices={settings['devices']!r}; this machine has a CPU and {torch.cuda.device_count()} CUDA devices."
        ) from None
    if copies_this_process(trainer):
        raise ValueError(
            f"trainer.strategy: {settings['strategy']} copies this process, with locks, signals and exit status that "
            "train.py relies on; use trainer.strategy: ddp, which starts the same command once per device."
        )
    return trainer


def as_list(value: Any) -> list[Any]:
    """Return what a key holds of which one or several may be given."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
