"""Checkpoints of this project: a network rebuilt from one file, without running code from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lightning_advinterp.networks.factory import create_network
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.weights import load_into

CHECKPOINT_FORMAT = 1
"""Version of ``checkpoint["advinterp"]``."""


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network and what was recorded beside it.

    Attributes:
        network: with the checkpoint's weights.
        classes: wnids or folder names, in the order of the outputs; empty where none were recorded.
        class_names: the same for people.
        seed: the training run's seed.
        epoch: finished epochs.
        resize: shorter side of a validation image before its crop; None where the data were not resized.
        averaged: whether the weights are a moving average of those that were trained.
    """

    network: Network
    classes: list[str]
    class_names: list[str]
    seed: int
    epoch: int
    resize: int | None = None
    averaged: bool = False


def load_checkpoint(path: str | Path) -> LoadedCheckpoint:
    """Rebuild the network that a training run of this project saved.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a checkpoint, or one of a later format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: no file {path}.")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"checkpoint: {path} cannot be read as plain data ({error}).") from None
    meta = content.get("advinterp") if isinstance(content, dict) else None
    if meta is None:
        raise ValueError(
            f"checkpoint: {path} was not written by a run of this project; "
            "for other files give --network NAME --weights FILE."
        )
    if meta.get("format", 0) > CHECKPOINT_FORMAT:
        raise ValueError(f"checkpoint: {path} has format {meta['format']}, this version reads {CHECKPOINT_FORMAT}.")
    missing = [key for key in ("network", "classes", "seed") if key not in meta]
    if missing:
        raise ValueError(f"checkpoint: {path} lacks {', '.join(missing)} in its entry advinterp; is it cut short?")
    network = create_network(**meta["network"])
    prefix = "network.backbone."
    tensors = {key.removeprefix(prefix): value for key, value in content["state_dict"].items() if prefix in key}
    load_into(network.backbone, tensors, str(path))
    network.untrained = ""
    return LoadedCheckpoint(
        network,
        meta["classes"],
        meta.get("class_names", meta["classes"]),
        meta["seed"],
        int(content.get("epoch", -1)) + 1,
        meta.get("resize"),
        "averaging_state" in content,
    )
