"""How long a training is for its learning-rate schedule, and whether that may go on with a checkpoint's state."""

import math
from collections.abc import Mapping
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.datamodules.lightning_internals import set_up_training_data

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
    *("factor", "patience", "mode", "start_factor", "cycle_momentum"),
)
"""What in a scheduler's state stays from the first step to the last."""


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
            "model.schedule, model.optimizer.lr, trainer.max_epochs and the steps of an epoch (images, batch size, "
            "processes) as they were; or start a run of another name from the checkpoint's weights (model.weights)."
        )


def _courses_differ(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    kinds = [next((name for key, name in _KINDS.items() if key in state), "another") for state in (was, now)]
    if kinds[0] != kinds[1]:
        return [f"it was {kinds[0]}, is {kinds[1]}"]
    states = [{**state, **_phases(state)} for state in (was, now)]
    parts = zip(was.get("_schedulers", []), now.get("_schedulers", []), strict=True)
    return [
        *(
            f"{key} was {states[0][key]}, is {states[1][key]}"
            for key in (*_LAID_OUT, *_phases(was))
            if key in states[0] and key in states[1] and states[0][key] != states[1][key]
        ),
        *(difference for before, after in parts for difference in _courses_differ(before, after)),
    ]


def _phases(state: Mapping[str, Any]) -> dict[str, float]:
    """The last step of onecycle's rise, which only its phases tell."""
    phases = state.get("_schedule_phases")
    return {"the rise's last step": phases[0]["end_step"]} if phases else {}


def training_length(trainer: Any) -> tuple[int | None, int | None]:
    """Return the optimiser steps of a training and of one of its epochs; None where it is not known before.

    The epochs' length comes from the loader: divided by the epochs, the whole length would be wrong where
    ``trainer.max_steps`` or ``trainer.max_time`` ends the training.
    """
    total = trainer.estimated_stepping_batches
    if trainer.train_dataloader is None:
        set_up_training_data(trainer)  # as Lightning's estimate does, but not where only max_steps counts
    batches = trainer.num_training_batches
    return (
        int(total) if 0 <= total < math.inf else None,
        math.ceil(batches / trainer.accumulate_grad_batches) if batches < math.inf else None,
    )
