"""The states of all processes, merged into one that every process then has."""

from collections.abc import Sequence
from typing import Any

import torch

from lightning_advinterp.analyses.base.protocol import Keeping


def merge_states(rank: int, world_size: int, analyses: Sequence[Keeping]) -> None:
    """Merge what all processes found; they must call this together.

    One process gets all states and sends back what they make: were all sent to all, each would need as much memory as
    there are processes.

    Args:
        rank: this process's number.
        world_size: number of processes.
        analyses: what keeps a state, the same in all processes.
    """
    if world_size == 1:
        return
    states: list[Any] | None = [None] * world_size if rank == 0 else None
    torch.distributed.gather_object([analysis.state_dict() for analysis in analyses], states, dst=0)
    merged: list[Any] = [None]
    if states is not None:
        for position, analysis in enumerate(analyses):
            analysis.load_state_dict(states[0][position])
            for process_states in states[1:]:  # always in this order: sums agree to the last bit
                analysis.merge(process_states[position])
        merged = [[analysis.state_dict() for analysis in analyses]]
    torch.distributed.broadcast_object_list(merged, src=0)
    for analysis, state in zip(analyses, merged[0], strict=True):
        analysis.load_state_dict(state)
