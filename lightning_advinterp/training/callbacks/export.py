"""The trained backbone for other programs, at the end of a training."""

from pathlib import Path
from typing import final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging

from lightning_advinterp.networks.export import export_network
from lightning_advinterp.training.module import RobustClassifier


@final
class ExportCallback(pl.Callback):
    """Writes ``model.safetensors`` and ``config.json`` once the training has ended, on the first process.

    The weights are those of the last epoch; with ``ema`` their average, as in ``last.ckpt``. For ``best.ckpt``, or for
    a run that is over, there is ``python -m lightning_advinterp.export``.

    Args:
        folder: where to write; left out, ``export`` in the run's folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write; an interrupted training comes to no end and writes nothing."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        assert isinstance(pl_module, RobustClassifier)
        export_network(
            pl_module.network,
            Path(trainer.default_root_dir) / "export" if self.folder is None else self.folder,
            classes=pl_module.classes,
            class_names=pl_module.class_names,
            resize=pl_module.resize,
            averaged=any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks),  # type: ignore[attr-defined]
        )
