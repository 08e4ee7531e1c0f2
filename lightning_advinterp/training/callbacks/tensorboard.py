"""What loggers need to be told once: curves that belong together, the run's settings, and the numbers it ended with."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.compat.proto import event_pb2
from torch.utils.tensorboard.summary import hparams

from lightning_advinterp.core.names import printable
from lightning_advinterp.training.callbacks.accuracy import AccuracyCallback
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback
from lightning_advinterp.training.logs import RunCSVLogger


class TensorBoardCallback(pl.Callback):
    """Groups curves in the custom-scalars tab, and fills the hparams tab; other loggers get the hyper-parameters.

    The hparams tab shows the last value of the run's own scalars, the watched questions' among them: nothing is logged
    twice. Other loggers get the settings at the start, and at the end these with the last values, ``final/<key>``.

    Args:
        settings: the run's settings, nested; leaves that are lists are shown as text.
        attacks: names of the validation attacks.
    """

    def __init__(self, settings: Mapping[str, Any], attacks: list[str]) -> None:
        self.settings, self.attacks = settings, attacks

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write all on the first process; on a resumed run it is written again, unchanged.

        A resumed run also lets go of what was logged after its checkpoint: it comes again.
        """
        if not trainer.is_global_zero:
            return
        adversarial = [f"val/{name}_acc" for name in self.attacks]
        watched = _watched(trainer)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                writer: Any = logger.experiment
                if trainer.global_step:
                    messages: Any = event_pb2
                    restart = messages.SessionLog(status=messages.SessionLog.START)
                    writer.file_writer.add_event(messages.Event(step=trainer.global_step, session_log=restart))
                writer.add_custom_scalars(_layout(adversarial) | _watched_layout(watched))
                metrics = dict.fromkeys(self._headlines(trainer), 0.0)
                for summary in hparams(_flat(self.settings), metrics):  # type: ignore[no-untyped-call]
                    writer.file_writer.add_summary(summary)
                continue
            if isinstance(logger, RunCSVLogger):
                logger.experiment.forget_from(trainer.global_step)
            logger.log_hyperparams(_flat(self.settings))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the last values to the settings."""
        last = trainer.callback_metrics
        final = {f"final/{key}": float(last[key]) for key in self._headlines(trainer) if key in last}
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(_flat(self.settings) | final)

    def _headlines(self, trainer: pl.Trainer) -> list[str]:
        watched = [key for keys in _watched(trainer).values() for key in keys]
        return ["val/acc", *(f"val/{name}_acc" for name in self.attacks), "val/loss", *watched]


def _watched(trainer: pl.Trainer) -> dict[str, list[str]]:
    """Return the log keys that say most, by the watched question; accuracy has its own place."""
    callbacks: Sequence[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return {
        callback.questions[0].name: callback.headlines()
        for callback in callbacks
        if isinstance(callback, AnalysisCallback) and not isinstance(callback, AccuracyCallback)
    }


def _watched_layout(watched: Mapping[str, list[str]]) -> dict[str, dict[str, list[Any]]]:
    return {name: {"over epochs": ["Multiline", keys]} for name, keys in watched.items() if keys}


def _layout(adversarial: list[str]) -> dict[str, dict[str, list[Any]]]:
    return {
        "accuracy": {
            "validation, clean and adversarial": ["Multiline", ["val/acc", *adversarial]],
            "training, clean and adversarial": ["Multiline", ["train/acc", "train/adv_acc"]],
            "guard against catastrophic overfitting": ["Multiline", ["guard/pgd_acc"]],
        },
        "loss": {
            "parts": ["Multiline", ["train/loss", "train/loss_clean", "train/loss_adv", "train/consistency"]],
            "validation": ["Multiline", ["val/loss"]],
        },
        "learning rate": {"of every step": ["Multiline", ["train/lr"]]},
        "representation": {
            "norm of φ": ["Multiline", ["train/phi_norm", "guard/phi_norm"]],
            "relative shift of φ under attack": ["Multiline", ["train/phi_shift", "guard/phi_shift"]],
        },
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, bool | str | float | int]:
    flat: dict[str, bool | str | float | int] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            # What protocol buffers hold is UTF-8.
            flat[printable(f"{prefix}{key}")] = (
                value if isinstance(value, bool | float | int) else printable(str(value))
            )
    return flat
