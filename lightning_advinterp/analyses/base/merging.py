"""The states of all processes, merged into one that every process then has."""

from collections.abc import Sequence
from typing import Any

from lightning_advinterp.analyses.base.protocol import Keeping
from lightning_advinterp.core.processes import Processes


def merge_states(processes: Processes, analyses: Sequence[Keeping]) -> None:
    """Merge what all processes found; they must call this together.

    One process gets all states and sends back what they make: were all sent to all, each would need as much memory as
    there are processes.

    Args:
        processes: this process among the others.
        analyses: what keeps a state, the same in all processes.
    """
    if processes.size == 1:
        return
    states = processes.gathered_by_first([analysis.state_dict() for analysis in analyses])
    merged: list[Any] = []
    if processes.first:
        for position, analysis in enumerate(analyses):
            analysis.load_state_dict(states[0][position])
            for process_states in states[1:]:  # always in this order: sums agree to the last bit
                analysis.merge(process_states[position])
        merged = [analysis.state_dict() for analysis in analyses]
    merged = processes.of_first(merged)
    for analysis, state in zip(analyses, merged, strict=True):
        analysis.load_state_dict(state)
