"""What ``--dry_run`` says beside the passes: hours, memory and disk, from an evaluation of a few of the images."""

import itertools
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.base.costs import SweepCost, sweep_costs
from lightning_advinterp.analyses.base.pass_seconds import PassSeconds, analysis_seconds, time_passes
from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.base.progress import clock_time
from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Scene
from lightning_advinterp.analyses.base.remembered import REMEMBERED
from lightning_advinterp.analyses.base.time_limits import time_limits
from lightning_advinterp.analyses.base.trial import Estimate, HeldMemory, Stopwatch
from lightning_advinterp.cli.evaluation.prepared import Prepared
from lightning_advinterp.cli.processes import ProcessChoice, process_counts
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.memory import forget_peak, memory_now, memory_peak, return_freed_memory
from lightning_advinterp.core.result import Result, joined
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.loaders import read_batch, worker_count
from lightning_advinterp.report.save import page_files, save_results

_BATCHES = 3
"""In the trial; the first one is not what the others are."""
_SHORT = 4
"""The part of the others that the last one is."""
_MOST = 16
"""Images of its batches on a CPU, which is as busy with few images as with many."""
_DEAR = 0.3
"""The part of the time of a trial that an analysis' own passes of two images may take; else they are not tried."""
_GIB = 2**30


class _Trial(NamedTuple):
    """What is tried, and how.

    Attributes:
        scene: the few images.
        batch_size: of the trial.
        tried: the questions, by name, with fresh analyses bound by ``plans``.
        plans: of the network.
    """

    scene: Scene
    batch_size: int
    tried: Mapping[str, Sequence[Analysis]]
    plans: Plans


def estimate(prepared: Prepared, scene: Scene, built: Mapping[str, Sequence[Analysis]], plans: Plans) -> Estimate:
    """Evaluate a few images as all would be, print what all of them will take, and return it.

    Args:
        prepared: the network; its ``trial_seconds`` say how long this may take.
        scene: all images.
        built: the questions' analyses, by name, bound to the network.
        plans: by which they are bound.
    """
    count, console = len(scene.images), prepared.console
    costs = _costs(built, plans, scene, count)
    size = prepared.evaluation.batch_size if prepared.device.type == "cuda" else _MOST
    places = subset_indices(count, min(count, size, prepared.evaluation.batch_size), prepared.evaluation.seed)
    x = read_batch(scene.images, places.tolist()).to_float().image.to(prepared.device)
    forget_peak(prepared.device)
    before = memory_now(prepared.device)
    passes = time_passes(scene.network, x)
    image_bytes = max(0, (memory_peak(prepared.device) or 0) - (before or 0)) // len(x)
    return_freed_memory()
    dear = _dear(prepared, scene, costs, count, passes)
    tried = {name: analyses for name, analyses in built.items() if not dear & {each.name for each in analyses}}
    limits = time_limits(itertools.chain(*built.values()), requested_processes(prepared.evaluation))
    by_analysis = analysis_seconds(costs, passes, limits, count)
    dear_seconds = sum(by_analysis.get(name, 0) for name in dear)
    memory = memory_now(prepared.device)
    if dear and memory is not None:
        batches = [_batch_of(cost, prepared, count) for cost in costs if dear & cost.of_analyses.keys()]
        memory += image_bytes * max(batches)
    by_passes = Estimate(dear_seconds, memory=memory)
    total = by_passes
    if tried:
        try:
            with _unheard():
                total = by_passes + _measured(prepared, scene, tried, plans, passes, limits)
        except (ValueError, RunStoppedError) as error:
            everything = sum(passes.of((cost.forwards, cost.backwards)) for cost in costs)
            everything += sum(by_analysis.values())
            total, dear = Estimate(everything, memory=by_passes.memory), set(built)
            console.print(f"  so few images cannot be tried: {error}", soft_wrap=True)
    console.print(
        f"  an image takes {_ms(passes.forward)} forward, {_ms(passes.backward)} with a gradient, "
        f"{_ms(passes.second)} with a gradient's gradient"
    )
    guessed = f"; {', '.join(sorted(dear))} by passes alone" if dear else ""
    console.print(f"  {describe(total, requested_processes(prepared.evaluation))}{guessed}", soft_wrap=True)
    return total


def requested_processes(choice: ProcessChoice) -> int:
    """Return how many processes would share the work."""
    per_machine, nodes = process_counts(choice, os.environ)
    return per_machine * nodes


def describe(total: Estimate, processes: int) -> str:
    """Return what an estimate says, in words.

    Args:
        total: of all sweeps.
        processes: that share them, each on a device of its own.
    """
    seconds = total.seconds / processes + total.alone
    memory = "" if total.memory is None else f", {total.memory / _GIB:.1f} GiB of memory in each process"
    shared = f" on {processes} processes, each on a device like this one" if processes > 1 else ""
    disk = f"{total.files / 2**20:.1f} MiB of files"
    disk += f", {total.journals / 2**20:.1f} MiB of journals until the end" if total.journals else ""
    return f"expected: {clock_time(seconds)} (h:mm:ss){shared}{memory}; on disk {disk}"


def _measured(
    prepared: Prepared,
    scene: Scene,
    tried: Mapping[str, Sequence[Analysis]],
    plans: Plans,
    passes: PassSeconds,
    limits: Mapping[str, float],
) -> Estimate:
    """Run the trial, and return what all images will take."""
    count, device = len(scene.images), prepared.device
    costs = _costs(tried, plans, scene, count)
    trial = _trial(prepared, scene, list(tried), _batch_size(prepared, costs, count, passes))
    shown, watch, limit = len(trial.scene.images), Stopwatch(device), prepared.evaluation.memory_limit
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        runner = Runner(
            scene.network,
            trial.scene.images,
            attacks=scene.attacks,
            batch_size=trial.batch_size,
            device=device,
            seed=prepared.evaluation.seed,
            num_workers=min(1, worker_count(prepared.evaluation.num_workers)),
            remember=REMEMBERED if prepared.evaluation.memory is None else 0,
            journal=journal,
            keep_journal=True,
            least_success=0,
            plans=trial.plans,
            formats=prepared.formats,
            watch=watch,
        )
        before, begun = memory_now(device), time.perf_counter()
        analyses = [analysis for several in trial.tried.values() for analysis in several]
        results = runner.run(analyses)
        activation_bytes = runner.held(analyses)
        journals = sum(path.stat().st_size for path in Path(folder).iterdir())
        forget_peak(device)
        files = _files(prepared, trial, results, Path(folder) / "out", count / shown)
        peak_of_files = memory_peak(device)
        alone = time.perf_counter() - begun - watch.total
    forgotten = sum(_forgotten(each * count / shown) for each in activation_bytes)
    seconds = watch.seconds_of(costs, limits) + forgotten * count * passes.forward
    memory = None
    if before is not None:
        remembered = sum(min(REMEMBERED, each * count // shown) for each in activation_bytes)
        in_trial, in_all = HeldMemory(before, journals, sum(activation_bytes)), HeldMemory(before, journals, remembered)
        memory = max(watch.memory_of(costs, prepared.evaluation.batch_size, in_trial, in_all), peak_of_files or 0)
        memory = memory if limit is None else min(memory, limit)
    return Estimate(seconds, alone, memory, journals, files)


def _forgotten(size: float) -> float:
    """Return the part of so many bytes of activations that is not held between sweeps: these images pass again."""
    return 1 - min(1.0, REMEMBERED / size) if size else 0.0


def _batch_of(cost: SweepCost, prepared: Prepared, count: int) -> int:
    """Return how many images a sweep looks at together."""
    return min(count, prepared.evaluation.batch_size, cost.batch or count)


def _files(prepared: Prepared, trial: _Trial, results: Mapping[str, Result], folder: Path, more: float) -> int:
    """Draw and write what the trial found; return the bytes that all images will take, with longer tables of images."""
    images, size = len(trial.scene.images), 0
    for name, several in trial.tried.items():
        question = prepared.evaluation.questions[name]
        of_name = {analysis.name: results[analysis.name] for analysis in several}
        result = joined(name, list(of_name.values()))
        title = prepared.subject.title
        figures, pages = question.figures(result, title), page_files(name, question.pages(result, title))
        save_results(folder / name, of_name, figures, prepared.origin, pages=pages)
        for path in (folder / name).rglob("*"):
            rows = result.tables.get(path.stem, []) if path.suffix == ".csv" else []
            per_image = bool(rows) and "image" in rows[0] and len(rows) % images == 0
            size += round(path.stat().st_size * (more if per_image else 1)) if path.is_file() else 0
    return size


def _trial(prepared: Prepared, scene: Scene, names: Sequence[str], batch_size: int) -> _Trial:
    count = len(scene.images)
    # The last batch is shorter: what memory does not grow with the batch shows by it.
    most = (_BATCHES - 1) * batch_size + max(1, batch_size // _SHORT)
    places = subset_indices(count, min(count, most), prepared.evaluation.seed)
    few = replace(scene, images=scene.images.only(places.tolist()), together=tuple(names))
    plans, tried = Plans(scene.network), dict[str, Sequence[Analysis]]()
    for name in names:
        tried[name] = prepared.evaluation.questions[name].build(few)
        for analysis in tried[name]:
            plans.of(analysis)
    return _Trial(few, batch_size, tried, plans)


def _batch_size(prepared: Prepared, costs: Sequence[SweepCost], count: int, passes: PassSeconds) -> int:
    """Return how many images at a time the trial can afford."""
    seconds = sum(passes.of((cost.forwards, cost.backwards)) for cost in costs)
    seconds += sum(analysis_seconds(costs, passes, {}, count).values())
    most = prepared.evaluation.batch_size
    most = most if prepared.device.type == "cuda" else min(most, _MOST)
    affordable = int(prepared.evaluation.trial_seconds / (_BATCHES * seconds / count + 1e-9))
    return max(1, min(most, -(-count // _BATCHES), affordable))


def _dear(prepared: Prepared, scene: Scene, costs: Sequence[SweepCost], count: int, passes: PassSeconds) -> set[str]:
    """Return the analyses that cannot be tried: two images take too long."""
    limit = _DEAR * prepared.evaluation.trial_seconds
    by_analysis = analysis_seconds(costs, passes, {}, count)
    return {name for name, seconds in by_analysis.items() if seconds * min(1, 2 / count) > limit}


def _costs(built: Mapping[str, Sequence[Analysis]], plans: Plans, scene: Scene, count: int) -> list[SweepCost]:
    analyses = [analysis for several in built.values() for analysis in several]
    return sweep_costs(analyses, plans, scene.attacks, count)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


@contextmanager
def _unheard() -> Iterator[None]:
    """Let no warning of few images through: all images will be warned of."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
