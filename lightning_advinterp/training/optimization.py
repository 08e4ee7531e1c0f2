"""Optimisers and learning-rate schedules, as configurations say them."""

import logging
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
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

_log = logging.getLogger(__name__)


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

    def __post_init__(self) -> None:
        for name, value in {"lr": self.lr, "weight_decay": self.weight_decay}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"optimizer.{name} must be a finite number of 0 or more, got {value}.")
        for name, value in {"momentum": self.momentum, "betas[0]": self.betas[0], "betas[1]": self.betas[1]}.items():
            if not 0 <= value < 1:
                raise ValueError(f"optimizer.{name} must be in [0, 1), got {value}.")
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("optimizer.nesterov needs optimizer.momentum above 0.")

    @property
    def without_effect(self) -> list[str]:
        """Settings that differ from their defaults although this optimiser has no use for them."""
        unused = {"sgd": ("betas",), "adamw": ("momentum", "nesterov")}.get(self.name, ())
        default = type(self)()
        return [name for name in unused if getattr(self, name) != getattr(default, name)]


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
        patience: epochs without improvement before plateau acts; an epoch in which its value is not measured does not
            count.
        cycle_momentum: onecycle also moves the momentum (AdamW's first beta) between 0.95 and 0.85 against the rate,
            in the place of the configured one, as torch's scheduler does unasked.
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
    cycle_momentum: bool = False

    def __post_init__(self) -> None:
        for name in ("warmup_epochs", "warmup_start", "min_lr", "gamma", "patience"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"schedule.{name} must be a finite number of 0 or more, got {value}.")
        if self.name == "plateau" and self.gamma >= 1:
            raise ValueError(
                f"schedule.gamma must be below 1 for plateau, which lowers the rate by it, got {self.gamma}."
            )

    @property
    def without_effect(self) -> list[str]:
        """Settings that differ from their defaults although this course has no use for them."""
        used = {
            "constant": {"warmup_epochs", "warmup_start"},
            "cosine": {"warmup_epochs", "warmup_start", "min_lr"},
            "multistep": {"warmup_epochs", "warmup_start", "milestones", "gamma"},
            "plateau": {"warmup_epochs", "gamma", "monitor", "mode", "patience", "min_lr"},
            "onecycle": {"warmup_epochs", "cycle_momentum"},
        }.get(self.name, set())
        default = type(self)()
        return [
            item.name
            for item in fields(self)
            if item.name not in used | {"name"} and getattr(self, item.name) != getattr(default, item.name)
        ]


def parameter_groups(network: nn.Module, *, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Split the trainable parameters into decayed weights and undecayed biases and scales (one dimension)."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if decay_norm_and_bias:
        return [{"params": trainable}]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trainable if parameter.dim() > 1]},
        {"params": [parameter for parameter in trainable if parameter.dim() <= 1], "weight_decay": 0.0},
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


def check_length(config: ScheduleConfig, total_steps: int | None, steps_per_epoch: int | None) -> None:
    """Refuse a course that cannot be laid out, since the training's or the epochs' length is not known before.

    Args:
        config: the course.
        total_steps: optimiser steps of the whole training; None where nothing but time ends it.
        steps_per_epoch: optimiser steps of an epoch; None where the loader does not know.

    Raises:
        ValueError: naming what would make it known.
    """
    if config.name not in ("constant", "cosine", "multistep", "plateau", "onecycle"):
        raise ValueError(
            f"schedule.name must be constant, cosine, multistep, plateau or onecycle, got {config.name!r}."
        )
    if total_steps is None and config.name in ("cosine", "onecycle"):
        raise ValueError(
            f"schedule.name: {config.name} is laid out over the whole training, but neither trainer.max_epochs nor "
            "trainer.max_steps says how long that is; set one of them, or choose constant, multistep or plateau."
        )
    in_epochs = [name for name in ("warmup_epochs", "milestones") if getattr(config, name)]
    if steps_per_epoch is None and in_epochs:
        raise ValueError(
            f"schedule.{in_epochs[0]} counts epochs, but the training loader does not say how many batches one has; "
            "give the loader a length (trainer.limit_train_batches sets one), or leave it out."
        )
    if config.name == "plateau" and config.warmup_epochs:
        raise ValueError("schedule.warmup_epochs cannot be combined with plateau; set it to 0.")


def create_schedule(
    optimizer: Optimizer, config: ScheduleConfig, *, total_steps: int | None, steps_per_epoch: int | None
) -> dict[str, Any]:
    """Build Lightning's scheduler dictionary.

    Args:
        optimizer: whose rate is set.
        config: the course.
        total_steps: optimiser steps of the whole training; None where nothing but time ends it.
        steps_per_epoch: optimiser steps of an epoch; None where the loader does not know.

    Raises:
        ValueError: if the course cannot be laid out, see :func:`check_length`.
    """
    check_length(config, total_steps, steps_per_epoch)
    warmup = round(config.warmup_epochs * (steps_per_epoch or 0))
    if total_steps is not None and 0 < total_steps < warmup:
        _log.warning(
            "model.schedule.warmup_epochs: the warm-up takes %d steps, the whole training %d: the learning rate does "
            "not reach %g.",
            warmup,
            total_steps,
            optimizer.param_groups[0]["lr"],
        )
    if config.name == "plateau":
        plateau = ReduceLROnPlateau(
            optimizer, mode=config.mode, factor=config.gamma, patience=config.patience, min_lr=config.min_lr
        )
        # The module steps it, when its value was measured; Lightning would end the run where it was not.
        return {"scheduler": plateau, "interval": "epoch", "monitor": config.monitor, "frequency": sys.maxsize}
    if config.name == "onecycle":
        total = max(total_steps or 1, 1)
        rates = [group["lr"] for group in optimizer.param_groups]
        rise = min(max(warmup / total, 1e-3), 1.0) if warmup else 0.3
        scheduler: LRScheduler = OneCycleLR(
            optimizer, rates, total_steps=total, pct_start=rise, cycle_momentum=config.cycle_momentum
        )
        return {"scheduler": scheduler, "interval": "step"}
    main = _main_schedule(optimizer, config, (total_steps or 1) - warmup, steps_per_epoch or 0, warmup)
    if warmup:
        rise_first = LinearLR(optimizer, config.warmup_start, 1.0, total_iters=warmup)
        main = SequentialLR(optimizer, [rise_first, main], milestones=[warmup])
    return {"scheduler": main, "interval": "step"}


def _main_schedule(
    optimizer: Optimizer, config: ScheduleConfig, steps: int, steps_per_epoch: int, warmup: int
) -> LRScheduler:
    if config.name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=max(steps, 1), eta_min=config.min_lr)
    if config.name == "multistep":
        marks = [max(0, math.floor(epoch * steps_per_epoch) - warmup) for epoch in config.milestones]
        return MultiStepLR(optimizer, marks, gamma=config.gamma)
    return LinearLR(optimizer, 1.0, 1.0, total_iters=1)
