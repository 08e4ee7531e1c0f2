"""What callbacks look at during training, and how many processes load it."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden

from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.loaders import Workers, worker_count
from lightning_advinterp.data.user_images import as_image_set


def validation_set(trainer: pl.Trainer) -> ImageSet:
    """Return the images behind the validation loader, of the trainer or else of the data module; none without any."""
    data: Any = getattr(trainer, "datamodule", None)
    loaders: Any = trainer.val_dataloaders
    if loaders is None and data is not None and is_overridden("val_dataloader", data, pl.LightningDataModule):
        loaders = data.val_dataloader()
    loader = next(iter(loaders), None) if isinstance(loaders, list | tuple) else loaders
    return as_image_set([] if loader is None else loader.dataset)


def loading_workers(trainer: pl.Trainer, num_workers: Workers | None, device: torch.device) -> int:
    """Return how many processes load a callback's images.

    Args:
        trainer: whose training loader sets the number on an accelerator, which its workers keep busy.
        num_workers: the setting; None for that rule, and 0 on a CPU, where workers would take the network's cores.
        device: where the network is.
    """
    if num_workers is not None:
        return worker_count(num_workers, trainer.num_devices)
    return 0 if device.type == "cpu" else int(getattr(trainer.train_dataloader, "num_workers", 0))
