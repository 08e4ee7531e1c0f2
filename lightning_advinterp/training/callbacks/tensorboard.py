"""What TensorBoard needs to be told once: a layout of curves that belong together, and the run's settings."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.compat.proto import event_pb2
from torch.utils.tensorboard.summary import hparams

from lightning_advinterp.core.names import printable


class TensorBoardCallback(pl.Callback):
    """Groups clean and adversarial curves in the custom-scalars tab, and fills the hparams tab.

    The hparams tab shows the last value of the run's own ``val/…`` scalars: nothing is logged twice.

    Args:
        settings: the run's settings, nested; leaves that are lists are shown as text.
        attacks: names of the validation attacks.
    """

    def __init__(self, settings: Mapping[str, Any], attacks: list[str]) -> None:
        self.settings, self.attacks = settings, attacks

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write both on the first process; on a resumed run they are written again, unchanged.

        A resumed run also tells TensorBoard to forget what was logged after its checkpoint: it comes again.
        """
        adversarial = [f"val/{name}_acc" for name in self.attacks]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                writer: Any = logger.experiment
                if trainer.global_step:
                    messages: Any = event_pb2
                    restart = messages.SessionLog(status=messages.SessionLog.START)
                    writer.file_writer.add_event(messages.Event(step=trainer.global_step, session_log=restart))
                writer.add_custom_scalars(_layout(adversarial))
                metrics = dict.fromkeys(["val/acc", *adversarial, "val/loss"], 0.0)
                for summary in hparams(_flat(self.settings), metrics):  # type: ignore[no-untyped-call]
                    writer.file_writer.add_summary(summary)


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
