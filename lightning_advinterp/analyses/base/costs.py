"""What a run over data costs in passes, sweep by sweep: announced beforehand, and what its progress is counted in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.schedule import schedule, unite
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL

_BACKWARD, _ANALYSIS_BACKWARD = 1.14, 1.6
"""What a gradient by the image takes beyond its forward pass, and a third of what its own gradient does, in forward
passes: ResNet-18 on a CPU, without the weights' gradients."""


@dataclass(frozen=True)
class SweepCost:
    """One run over the data.

    Attributes:
        place: among the runs over the data, from 0.
        images: so many are shown at most.
        forwards: forward passes of all these images together, with those of the attacks.
        backwards: backward passes, likewise.
        of_analyses: analysis to the forward and backward passes that it makes itself of all images; not counted above.
        batch: so many images at a time at most; None: the evaluation's.
    """

    place: int
    images: int
    forwards: float
    backwards: float
    of_analyses: Mapping[str, tuple[float, float]]
    batch: int | None = None

    @property
    def passes(self) -> tuple[float, float]:
        """Forward and backward passes in all."""
        return (
            self.forwards + sum(forwards for forwards, _ in self.of_analyses.values()),
            self.backwards + sum(backwards for _, backwards in self.of_analyses.values()),
        )

    @property
    def work(self) -> float:
        """The same in forward passes; an analysis' own backward passes are mostly those of a gradient's gradient."""
        counts = self.of_analyses.values()
        by_analyses = sum(forwards + _ANALYSIS_BACKWARD * backwards for forwards, backwards in counts)
        return self.forwards + _BACKWARD * self.backwards + by_analyses


def sweep_costs(
    analyses: Sequence[Analysis], plans: Plans, attacks: Mapping[str, Attack], count: int
) -> list[SweepCost]:
    """Return what each run over the data costs, in order; one that may turn out not to be needed costs nothing.

    What an analysis does itself falls to the last of its sweeps.

    Args:
        analyses: all that run.
        plans: of the network.
        attacks: by name.
        count: number of images.
    """
    runs = schedule(analyses, plans)
    run_passes: list[dict[str, tuple[float, float]]] = [{} for _ in runs]
    for analysis in analyses:
        forwards, backwards = plans.of(analysis).passes
        places = [place for place, due in enumerate(runs) if any(entry.analysis is analysis for entry in due)]
        if forwards or backwards:
            place = places[-1] if places else len(run_passes)
            run_passes += [{} for _ in range(place + 1 - len(run_passes))]  # of analyses without a sweep
            run_passes[place][analysis.name] = count * forwards, count * backwards
    costs = []
    for place, due in enumerate(runs):
        due = [entry for entry in due if not entry.sweep.optional]
        wants = unite([entry.sweep for entry in due])
        shown = count if wants.chosen is None else min(count, wants.chosen)
        attacked = [attacks[kind].cost for kind in wants.kinds if kind != REAL]
        each = len(wants.kinds) * bool(due) + sum(entry.sweep.forwards for entry in due)
        each_forwards = each + sum(forwards for forwards, _ in attacked)
        each_backwards = sum(backwards for _, backwards in attacked)
        shown_at_all = shown if wants.kinds or wants.chosen is not None else 0
        passes = shown * each_forwards, shown * each_backwards
        costs.append(SweepCost(place, shown_at_all, *passes, run_passes[place], wants.batch))
    return costs + [SweepCost(place, 0, 0, 0, run_passes[place]) for place in range(len(runs), len(run_passes))]
