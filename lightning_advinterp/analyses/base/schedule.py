"""Which sweeps of which analyses share a run over the data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.base.protocol import Analysis, Skipping, Sweep


@dataclass(frozen=True)
class Due:
    """A sweep of an analysis that falls into a run over the data.

    Attributes:
        analysis: whose sweep it is.
        number: the sweep's number among the analysis' own.
        sweep: what it wants to see.
    """

    analysis: Analysis
    number: int
    sweep: Sweep

    @property
    def skipped(self) -> bool:
        """Whether the analysis turns out not to need an optional sweep."""
        return isinstance(self.analysis, Skipping) and self.analysis.skips(self.number)


def schedule(analyses: Sequence[Analysis], plans: Plans) -> list[list[Due]]:
    """Return the runs over the data, each with the sweeps that fall into it.

    The last sweeps that show all images fall together: an analysis attacks in that one, after what it compares with,
    so that adversarial images are made once for all. Sweeps over chosen images share the very last run.
    """
    sweeps = {
        analysis.name: [Due(analysis, number, sweep) for number, sweep in enumerate(plans.of(analysis).sweeps)]
        for analysis in analyses
    }
    over_all_images = {name: [entry for entry in due if entry.sweep.chosen is None] for name, due in sweeps.items()}
    last_shown = {
        name: max((place for place, entry in enumerate(due) if entry.sweep.kinds), default=0)
        for name, due in over_all_images.items()
    }
    latest = max(last_shown.values(), default=0)
    runs: list[list[Due]] = []
    for name, due in over_all_images.items():
        for place, entry in enumerate(due):
            run = place + latest - last_shown[name]
            while len(runs) <= run:
                runs.append([])
            runs[run].append(entry)
    closing = [entry for due in sweeps.values() for entry in due if entry.sweep.chosen is not None]
    return [*runs, closing] if closing else runs


def unite(sweeps: Sequence[Sweep]) -> Sweep:
    """The union of what several analyses want to see, each wish once and in order."""

    def union(parts: Iterator[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in parts for name in part))

    return Sweep(
        layers=union(sweep.layers for sweep in sweeps),
        kinds=union(sweep.kinds for sweep in sweeps),
        labels=any(sweep.labels for sweep in sweeps),
        resumable=all(sweep.resumable for sweep in sweeps),
        batch=min((sweep.batch for sweep in sweeps if sweep.batch is not None), default=None),
        chosen=sum(numbers) if (numbers := [sweep.chosen for sweep in sweeps if sweep.chosen is not None]) else None,
    )


def shows_all(runs: Sequence[Sequence[Due]]) -> bool:
    """Whether a sweep over all images is among those of the runs."""
    return any(entry.sweep.kinds and entry.sweep.chosen is None for due in runs for entry in due)
