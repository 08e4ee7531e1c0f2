"""Where a training run can go on: checkpoints found, put in order, and held against the configuration."""

import logging
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lightning_advinterp.core.tensor_files import named_tensors
from lightning_advinterp.datamodules.lightning_internals import progress_in
from lightning_advinterp.networks.same_outputs import require_recorded_outputs
from lightning_advinterp.training.checkpoint_io import WEIGHTS, not_finite, read_checkpoint
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.optimization import create_optimizer
from lightning_advinterp.training.taking_up import entries_of

_log = logging.getLogger(__name__)
_SHOWN = 3
_NO_ARCHITECTURE = ("input_size", "phi")
"""What a checkpoint records of its network that no weight depends on."""


@dataclass(frozen=True)
class Start:
    """A checkpoint to go on from.

    Attributes:
        path: the file.
        epoch: finished epochs.
        batch: finished batches of the epoch under way; 0 at an epoch's end.
        step: optimiser steps taken.
    """

    path: Path
    epoch: int
    batch: int
    step: int

    def __str__(self) -> str:
        within = f", {self.batch} batches into the next" if self.batch else ""
        return f"{self.path} ({self.epoch} epochs{within}; step {self.step})"


def newest(paths: Iterable[Path]) -> Start | None:
    """Return the checkpoint of the furthest training among those that exist and are whole; None where none exists.

    Damaged ones are passed over with a warning.

    Raises:
        ValueError: if there are checkpoints, but none is whole.
    """
    existing = [path for path in paths if path.exists()]
    intact, damaged = [], []
    for path in existing:
        try:
            intact.append(examine(path))
        except ValueError as error:
            damaged.append(path)
            _log.warning("%s Passed over.", error)
    if damaged and not intact:
        raise ValueError(
            f"resume: auto, but none of {', '.join(map(str, damaged))} can be read; choose another name, or remove "
            "that folder to start anew."
        )
    best = max(intact, key=lambda start: (start.epoch, start.batch), default=None)
    if damaged:
        _log.warning("Falling back to the checkpoint before: %s.", best)
    return best


def examine(path: Path) -> Start:
    """Read where a checkpoint stands, after comparing its content with its checksums.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or no checkpoint of a training run.
    """
    if path.is_file() and not zipfile.is_zipfile(path):  # the table of its content stands at its end
        raise ValueError(f"{path} is cut short, or no checkpoint at all.")
    content = read_checkpoint(path, mmap=True)
    bad = not_finite({name: content.get(name) for name in WEIGHTS})
    if bad:
        raise ValueError(f"{path} holds NaN or infinity in {bad}.")
    with entries_of(path):
        _require_dense(content, path)
        progress = progress_in(content)
        if progress is None or "global_step" not in content:
            raise ValueError(
                f"{path} is no checkpoint of a training run; to start from its weights, give model.weights."
            )
        counts = (*progress, content["global_step"])
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise TypeError(f"a count of epochs, batches or steps among {counts} is none")
        ready, epoch, batch, step = counts
        return Start(path, epoch, batch if ready > epoch else 0, step)


def _require_dense(content: Mapping[str, Any], path: Path) -> None:
    """Refuse weights that no training run writes, and that its network or optimiser would take up in part or not."""
    for entry in WEIGHTS:
        for name, tensor in named_tensors(content.get(entry), entry):
            if tensor.is_meta or tensor.is_quantized or tensor.is_complex() or tensor.layout is not torch.strided:
                raise ValueError(f"{path} holds sparse, quantised, complex or no values in {name}.")


def check_fits(start: Start, model: RobustClassifier, max_epochs: int | None, *, averaged: bool = False) -> None:
    """Refuse a checkpoint that the configured run cannot go on from.

    Args:
        start: the checkpoint.
        model: as configured.
        max_epochs: as configured.
        averaged: whether the run keeps an average of its weights.

    Raises:
        ValueError: saying what differs, and what to do.
    """
    content = read_checkpoint(start.path, mmap=True)
    with entries_of(start.path):
        differs = [*_network_differs(content, model), *_optimizer_differs(content, model)]
    if ("averaging_state" in content) != averaged:  # an average would be taken for the weights that are trained
        differs.append(
            "its weights were averaged (ema), now they are not" if not averaged else "it has no average (ema)"
        )
    if differs:
        raise ValueError(
            f"resume: {start.path} does not fit the configuration: {'; '.join(differs)}. Set these as they were, or "
            "give the run another name; to start from the checkpoint's weights, give model.weights."
        )
    if max_epochs is not None and 0 <= max_epochs < start.epoch:
        raise ValueError(
            f"resume: {start.path} has {start.epoch} epochs already, trainer.max_epochs is {max_epochs}; raise it."
        )


def check_classes(start: Start, model: RobustClassifier) -> None:
    """Refuse a checkpoint whose outputs mean other classes than the data's, which the model must have taken.

    Raises:
        ValueError: naming the first class that differs.
    """
    content = read_checkpoint(start.path, mmap=True)
    with entries_of(start.path):
        require_recorded_outputs(content, model.network.origin, f"resume: {start.path}")


def _network_differs(content: Mapping[str, Any], model: RobustClassifier) -> list[str]:
    was, now = content.get("advinterp", {}).get("network", {}), model.network.spec()
    named = [
        f"{key} was {was.get(key)!r}, is {now.get(key)!r}"
        for key in {**was, **now}
        if key not in _NO_ARCHITECTURE and was.get(key) != now.get(key)
    ]
    if named:
        return named
    weights, state = content.get("state_dict", {}), model.state_dict()
    shapes = [
        f"{key} was {list(weights[key].shape)}, is {list(value.shape)}"
        for key, value in state.items()
        if key in weights and weights[key].shape != value.shape
    ]
    return [*_some(shapes), *_unpaired(weights, state)]


def _unpaired(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names that only one of two has."""
    gone, new = [key for key in was if key not in now], [key for key in now if key not in was]
    return [
        f"only the {place} has {', '.join(_some(keys))}"
        for place, keys in (("checkpoint", gone), ("configured network", new))
        if keys
    ]


def _optimizer_differs(content: Mapping[str, Any], model: RobustClassifier) -> list[str]:
    states = content.get("optimizer_states", [])
    if not states:
        return ["it has no optimizer state"]
    was = states[0]["param_groups"]
    now = create_optimizer(model.network, model.optimizer_config).state_dict()["param_groups"]
    if ("betas" in was[0]) != ("betas" in now[0]):
        kind = {True: "adamw", False: "sgd"}
        return [f"model.optimizer.name was {kind['betas' in was[0]]}, is {kind['betas' in now[0]]}"]
    sizes = [[len(group["params"]) for group in groups] for groups in (was, now)]
    if sizes[0] != sizes[1]:
        return [f"the optimizer's groups had {sizes[0]} parameters, have {sizes[1]}"]
    # Of the checkpoint's groups, so that another value would be without effect. What a schedule moves is no setting:
    # learning rates are compared with the schedule, and onecycle turns the momentum, too.
    fixed = ("weight_decay", "nesterov", *(() if "max_momentum" in was[0] else ("momentum", "betas")))
    return [
        f"model.optimizer.{key} was {was[0][key]}, is {now[0][key]}"
        for key in fixed
        if key in now[0] and was[0][key] != now[0][key]
    ]


def _some(items: list[str]) -> list[str]:
    return items if len(items) <= _SHOWN else [*items[:_SHOWN], f"… ({len(items)} in all)"]
