"""Means of what training steps report, over an epoch and over all processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor


class EpochMeans:
    """Weighs every batch by its images, and goes on within an epoch where a checkpoint was written.

    A step's own value is one process's, of one batch. Whatever decides by it (a checkpoint, a schedule, early stopping)
    would follow that batch, and decide otherwise on every process.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._images: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """What has been reported since the epoch's start."""
        return list(self._sums)

    def add(self, values: Mapping[str, Tensor], images: int) -> None:
        """Add one batch's scalars, without waiting for the device."""
        for name, value in values.items():
            # Sums of float32 values are exact in float64, so that their order does not matter; MPS has none.
            wide = value.detach() if value.device.type == "mps" else value.detach().double()
            self._sums[name] = self._sums[name] + images * wide if name in self._sums else images * wide
            self._images[name] = self._images.get(name, 0) + images

    def compute(self) -> dict[str, float]:
        """Return the means over all processes, which must call this together."""
        sums: dict[str, float] = {}
        images: dict[str, float] = {}
        for state in _of_all_processes(self._state()):
            for name, (total, count) in state.items():
                sums[name], images[name] = sums.get(name, 0.0) + total, images.get(name, 0) + count
        return {name: sums[name] / images[name] for name in sums}

    def clear(self) -> None:
        """Start a new epoch."""
        self._sums, self._images = {}, {}

    def state_dict(self) -> list[dict[str, list[float]]]:
        """Return the sums of every process, which must call this together; empty at an epoch's start."""
        states = _of_all_processes(self._state())
        return states if any(states) else []

    def load_state_dict(self, states: Sequence[Mapping[str, Sequence[float]]], rank: int) -> None:
        """Go on with what the process ``rank`` had."""
        self.clear()
        for name, (total, count) in (states[rank] if rank < len(states) else {}).items():
            self._sums[name], self._images[name] = float(total), int(count)

    def _state(self) -> dict[str, list[float]]:
        tensors = {name: total for name, total in self._sums.items() if isinstance(total, Tensor)}
        values: list[float] = torch.stack(list(tensors.values())).tolist() if tensors else []  # one wait for all
        totals = {**self._sums, **dict(zip(tensors, values, strict=True))}
        return {name: [float(total), self._images[name]] for name, total in totals.items()}


def _of_all_processes(state: dict[str, list[float]]) -> list[dict[str, list[float]]]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [state]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, state)
    return states
