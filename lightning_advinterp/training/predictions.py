"""``predictions.csv``: what ``Trainer.predict`` finds, a row for each image, with or without labels."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.report.save import save_tables
from lightning_advinterp.training.logs import log_folder


def prediction_rows(batch: Batch, logits: Tensor, names: Sequence[str], first: int) -> list[Row]:
    """Return a row for each image of a batch.

    Args:
        batch: labels and numbers of images; -1: unknown.
        logits: ``[B, K]``.
        names: of the outputs; fewer where they are unknown.
        first: number of the batch's first image, where images have no numbers of their own.
    """
    probabilities, predictions = logits.detach().float().softmax(dim=1).max(dim=1)
    columns = (batch.index.tolist(), batch.label.tolist(), predictions.tolist(), probabilities.tolist())
    return [
        {
            "image": first + place if index < 0 else index,
            "label": None if label < 0 else label,
            "prediction": prediction,
            "class": names[prediction] if prediction < len(names) else None,
            "probability": probability,
        }
        for place, (index, label, prediction, probability) in enumerate(zip(*columns, strict=True))
    ]


def save_predictions(trainer: pl.Trainer, rows_of_loaders: Sequence[Sequence[Row]]) -> list[Path]:
    """Write the rows of each loader into the log's folder, or else the trainer's; return the files.

    Several processes write a file each, since each predicts a share of the images, and so do several loaders.
    """
    folder = log_folder(trainer) or Path(trainer.default_root_dir)
    loaders = trainer.predict_dataloaders
    loaders = loaders if isinstance(loaders, list | tuple) else [loaders]
    paths = []
    for number, (rows, loader) in enumerate(zip(rows_of_loaders, loaders, strict=False)):
        name = "predictions" + (f"-{number}" if len(loaders) > 1 else "")
        name += f"-process{trainer.global_rank}" if trainer.world_size > 1 else ""
        save_tables(folder, {name: Result(name, tables={name: _with_paths(rows, loader)})})
        paths.append(folder / f"{name}.csv")
    return paths


def _with_paths(rows: Sequence[Row], loader: object) -> list[Row]:
    try:
        path_of: Callable[[int], str | None] = as_image_set(loader).path_of
    except TypeError:  # a stream, whose images have no paths
        return list(rows)
    return [{**row, "image": path_of(row["image"]) or row["image"]} for row in rows]
