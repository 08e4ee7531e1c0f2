"""Optimisers and learning-rate schedules, as configurations say them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from lightning_advinterp.errors import RunStoppedError

_KINDS = {
    "_schedulers": "one with a warm-up",
    "T_max": "cosine",
    "milestones": "multistep",
    "total_steps": "onecycle",
    "factor": "plateau",
    "start_factor": "constant",
}
"""What in a scheduler's state tells its kind."""

_LAID_OUT = (
    *("T_max", "total_steps", "total_iters", "milestones", "_milestones", "base_lrs", "eta_min", "gamma"),
    *("factor", "patience", "mode", "start_factor"),
)
"""What in a scheduler's state stays from the first step to the last."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser.

    Attributes:
        name: ``sgd`` or ``adamw``.
        lr: the (peak) learning rate.
        momentum: of SGD.
        nesterov: of SGD.
        betas: of AdamW.
        weight_decay: of weights; the default is that of Dong et al. 2022.
        decay_norm_and_bias: also decay biases and the scales of normalisation layers; usually they are left out.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 5e-5
    decay_norm_and_bias: bool = False


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate's course.

    Attributes:
        name: ``constant``, ``cosine``, ``multistep``, ``plateau`` or ``onecycle``.
        warmup_epochs: epochs (fractions allowed) of linear warm-up before constant, cosine and multistep; the
            share of the rise for onecycle is ``warmup_epochs / epochs``.
        warmup_start: the warm-up's first learning rate, as a share of ``lr``.
        min_lr: where the cosine ends.
        milestones: epochs at which multistep multiplies the rate by ``gamma``.
        gamma: factor of multistep and plateau.
        monitor: what plateau watches.
        mode: whether that should fall (``min``) or rise (``max``).
        patience: epochs without improvement before plateau acts.
    """

    name: Literal["constant", "cosine", "multistep", "plateau", "onecycle"] = "cosine"
    warmup_epochs: float = 0.0
    warmup_start: float = 0.01
    min_lr: float = 0.0
    milestones: list[float] = field(default_factory=list)
    gamma: float = 0.1
    monitor: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    patience: int = 3


def parameter_groups(network: nn.Module, *, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Split the trainable parameters into decayed weights and undecayed biases and scales (one dimension)."""
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if decay_norm_and_bias:
        return [{"params": wanted}]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in wanted if parameter.dim() > 1]},
        {"params": [parameter for parameter in wanted if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def create_optimizer(network: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Build the optimiser for a network's trainable parameters."""
    groups: Iterable[dict[str, Any]] = parameter_groups(network, decay_norm_and_bias=config.decay_norm_and_bias)
    if config.name == "sgd":
        return torch.optim.SGD(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
    raise ValueError(f"optimizer.name must be sgd or adamw, got {config.name!r}.")


def create_schedule(
    optimizer: Optimizer, config: ScheduleConfig, *, total_steps: int, epochs: int
) -> dict[str, Any] | None:
    """Build Lightning's scheduler dictionary; ``None`` keeps the rate as it is.

    Args:
        optimizer: whose rate is set.
        config: the course.
        total_steps: optimiser steps of the whole training.
        epochs: epochs of the whole training.
    """
    steps_per_epoch = total_steps / max(epochs, 1)
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if config.name == "plateau":
        if warmup:
            raise ValueError("schedule.warmup_epochs cannot be combined with plateau; set it to 0.")
        plateau = ReduceLROnPlateau(
            optimizer, mode=config.mode, factor=config.gamma, patience=config.patience, min_lr=config.min_lr
        )
        return {"scheduler": plateau, "interval": "epoch", "monitor": config.monitor}
    if config.name == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        rise = min(max(warmup / max(total_steps, 1), 1e-3), 1.0) if warmup else 0.3
        scheduler: LRScheduler = OneCycleLR(optimizer, rates, total_steps=max(total_steps, 1), pct_start=rise)
        return {"scheduler": scheduler, "interval": "step"}
    main = _main_schedule(optimizer, config, total_steps - warmup, steps_per_epoch, warmup)
    if warmup:
        rise_first = LinearLR(optimizer, config.warmup_start, 1.0, total_iters=warmup)
        main = SequentialLR(optimizer, [rise_first, main], milestones=[warmup])
    return {"scheduler": main, "interval": "step"}


def check_course(was: Mapping[str, Any], scheduler: LRScheduler) -> None:
    """Refuse a checkpoint's schedule that was laid out otherwise than the one that would go on with its state.

    Most courses depend on the number of steps of the whole training. Taking up the state of another would bend none:
    the old course would run on, a cosine back up to the full rate.

    Args:
        was: state of the checkpoint's schedule.
        scheduler: as configured now, before it takes up that state.

    Raises:
        RunStoppedError: saying what differs.
    """
    differs = _courses_differ(was, scheduler.state_dict())
    if differs:
        raise RunStoppedError(
            f"The checkpoint's learning-rate schedule was laid out otherwise: {'; '.join(differs)}. Set "
            "model.schedule, model.optimizer.lr, trainer.max_epochs and the size of epochs as they were; or start a "
            "run of another name from the checkpoint's weights (model.weights)."
        )


def _courses_differ(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    kinds = [next((name for key, name in _KINDS.items() if key in state), "another") for state in (was, now)]
    if kinds[0] != kinds[1]:
        return [f"it was {kinds[0]}, is {kinds[1]}"]
    parts = zip(was.get("_schedulers", []), now.get("_schedulers", []), strict=True)
    return [
        *(
            f"{key} was {was[key]}, is {now[key]}"
            for key in _LAID_OUT
            if key in was and key in now and was[key] != now[key]
        ),
        *(difference for one, other in parts for difference in _courses_differ(one, other)),
    ]


def _main_schedule(
    optimizer: Optimizer, config: ScheduleConfig, steps: int, steps_per_epoch: float, warmup: int
) -> LRScheduler:
    if config.name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=max(steps, 1), eta_min=config.min_lr)
    if config.name == "multistep":
        marks = [max(0, math.floor(epoch * steps_per_epoch) - warmup) for epoch in config.milestones]
        return MultiStepLR(optimizer, marks, gamma=config.gamma)
    if config.name == "constant":
        return LinearLR(optimizer, 1.0, 1.0, total_iters=1)
    raise ValueError(f"schedule.name must be constant, cosine, multistep, plateau or onecycle, got {config.name!r}.")
