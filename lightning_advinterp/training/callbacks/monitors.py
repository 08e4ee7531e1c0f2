"""Checkpoints and monitors follow what was measured in this epoch, and a monitor that nothing logs is said at once."""

from collections.abc import Collection
from typing import Any, final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.training.module import RobustClassifier


@final
class BestCheckpoint(ModelCheckpoint):
    """Lightning's best checkpoint, judged at the ends of those epochs in which its value was measured.

    Lightning goes on showing the value of an earlier epoch where a validation comes every few epochs, and ends the run
    where there was none yet.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, if this epoch is the best so far."""
        assert isinstance(pl_module, RobustClassifier)
        if pl_module.logged_this_epoch(self.monitor or ""):
            super().on_train_epoch_end(trainer, pl_module)


@final
class MonitorsCallback(pl.Callback):
    """Ends a run at the first moment at which a monitored value should be there and is not.

    Args:
        monitored: log key to the configuration key that names it.
    """

    def __init__(self, monitored: dict[str, str]) -> None:
        self._of_steps = {key: owner for key, owner in monitored.items() if key.startswith("train/")}
        self._of_validations = {
            key: owner for key, owner in monitored.items() if not key.startswith(("train/", "guard/", "time/"))
        }

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at what the first step reported."""
        if self._of_steps:
            assert isinstance(pl_module, RobustClassifier)
            names = [f"train/{name}" for name in pl_module.train_means.names]
            _refuse(self._of_steps, {*names, *(f"{name}_epoch" for name in names)}, names)
            self._of_steps = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at what the first validation reported."""
        if self._of_validations and not trainer.sanity_checking:
            logged = trainer.callback_metrics
            _refuse(self._of_validations, logged, [key for key in logged if not key.startswith("train/")])
            self._of_validations = {}


def _refuse(monitored: dict[str, str], logged: Collection[str], offered: list[str]) -> None:
    for key, owner in monitored.items():
        if key not in logged:
            raise RunStoppedError(f"{owner}: {key} is not logged; choose one of {', '.join(sorted(offered))}.")
