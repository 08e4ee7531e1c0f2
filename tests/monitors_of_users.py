"""A callback as a user writes it."""

import pytorch_lightning as pl


class LogsSomething(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("something", 1.0)
