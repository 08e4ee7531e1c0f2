"""The weights that are judged and kept: a moving average of those that are trained."""

from typing import Any, final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging

from lightning_advinterp.datamodules.lightning_internals import averaged_model


@final
class EMACallback(EMAWeightAveraging):
    """An exponential moving average of the weights, w̄ ← decay · w̄ + (1 − decay) · w, by Lightning's own callback.

    Everything during validation sees the average: the module's metrics and the analyses, which must stand before this
    callback, because it swaps the weights back at the validation epoch's end. ``guard`` watches the trained weights,
    which fail first. Checkpoints hold the average in ``state_dict``, which is what an evaluation loads, and the trained
    weights beside it, from which a resumed run goes on; after the training the network has the averaged weights.

    BatchNorm's statistics are averaged like the weights. The average starts at the weights after the first step, so
    its memory of 1/(1 − decay) steps should be short against the run.

    Args:
        decay: share of the average that stays at an update.
        update_every_n_steps: how often the average is updated.
    """

    def __init__(self, decay: float = 0.999, update_every_n_steps: int = 1) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}; 0.999 remembers 1000 updates.")
        if update_every_n_steps < 1:
            raise ValueError(f"update_every_n_steps must be 1 or more, got {update_every_n_steps}.")
        super().__init__(decay=decay, update_every_n_steps=update_every_n_steps)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update where it is due, without waiting for the device.

        torch asks the number of updates, twice an update, whether it is 0; in main memory that costs nothing.
        """
        average = averaged_model(self)
        if average is not None and average.n_averaged.device.type != "cpu":
            average.n_averaged = average.n_averaged.cpu()
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in the network also where a run was complete already: no training came to an end then."""
        self.on_train_end(trainer, pl_module)
