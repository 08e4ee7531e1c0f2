"""What an epoch logged, reduced by all processes at one place."""

import pytorch_lightning as pl


def reduce_logged(trainer: pl.Trainer) -> None:
    """Reduce what was logged with ``sync_dist`` so far, on all processes; call it before any other exchange.

    A progress bar reads all values at an epoch's end, on the first process alone, and Lightning reduces a value where
    it is first read. The others would go on to the next exchange, and all would wait for each other for ever. Here
    they read, too; where the first process has read already, this does nothing.

    Args:
        trainer: at the end of an epoch.
    """
    if trainer.world_size > 1:
        _ = trainer.callback_metrics
