"""Runs the analyses that look at the same images."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.base.classes import aim_within
from lightning_advinterp.analyses.base.columns import BESIDE
from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.provenance import digest
from lightning_advinterp.analyses.base.question import Data, Scene, declared_tables
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.groups import Group, SkippedImages
from lightning_advinterp.cli.evaluation.inputs import Images, Subject
from lightning_advinterp.cli.evaluation.left_out import LeftOut
from lightning_advinterp.cli.evaluation.place import Outcome, journal_of
from lightning_advinterp.core.result import Result, described, joined
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.loaders import worker_count
from lightning_advinterp.report.save import name_images

Checking = Callable[[], AbstractContextManager[None]]
"""Around what looks at the input; the command line makes plain messages of the errors there, and there alone."""


def evaluate_group(
    evaluation: Evaluation,
    subject: Subject,
    opened: Mapping[Data, Images],
    attacks: Mapping[Data, Mapping[str, Attack]],
    group: Group,
    origin: tuple[str, Any],
    folder: Path,
    console: Console,
    checking: Checking,
    left_out: LeftOut,
) -> tuple[dict[str, Outcome], list[str]] | None:
    """Run analyses that look at the same images; those that cannot be run are left out where all were asked for.

    Args:
        evaluation: as in ``evaluate_one``, and so are the others.
        subject: see there.
        opened: the images.
        attacks: on each set.
        group: the analyses.
        origin: the evaluation's key, and what tells its attacks from others.
        folder: see there.
        console: see there.
        checking: see there.
        left_out: notes what cannot be run.

    Returns:
        What each analysis found, and unreadable images; None in a dry run, or where nothing can be run.
    """
    key, made = origin
    with checking(), left_out.whole(group.names):
        dataset = group.images(opened[group.data].reported, evaluation)
    shown = attacks[group.data]
    if group.aims:
        labels = getattr(dataset, "labels", None) or opened[group.data].reported.labels
        shown = aim_within(shown, {int(label) for label in labels}, subject.network.num_classes)
    while names := tuple(left_out.remaining(group.names)):
        scene = Scene(
            subject.network,
            subject.outputs,
            shown,
            dataset,
            evaluation.questions,
            names,
            evaluation.layers,
            evaluation.seed,
        )
        built: dict[str, list[Analysis]] = {}
        for name in names:
            with checking(), left_out.single(name):
                built[name] = evaluation.questions[name].build(scene)
                for analysis in built[name]:
                    analysis.needs(subject.network)
        if len(left_out.remaining(names)) < len(names):
            continue  # the others may build on what is left out
        skipped = [SkippedImages(dataset)] if isinstance(dataset, ImageFolderDataset) else []
        # The name carries all that the states depend on: an interrupted evaluation goes on only as itself.
        journal = journal_of(folder, key, digest(made, asdict(replace(group, names=names))))
        with left_out.running(built):
            own = _run_group(evaluation, built, skipped, scene, journal, console, checking)
            if evaluation.dry_run:
                return None
            name_images(own, dataset)
            outcomes: dict[str, Outcome] = {}
            for name in names:
                tables = declared_tables(name, evaluation.questions)
                results = {analysis.name: described(own[analysis.name], tables, BESIDE) for analysis in built[name]}
                figures = evaluation.questions[name].figures(joined(name, list(results.values())), subject.title)
                written = {key: one for key, one in results.items() if one.scalars or one.tables or one.arrays}
                outcomes[name] = Outcome(written, figures)
            for one in skipped:
                one.dataset.report_bad_images()
            return outcomes, [path for one in skipped for path in one.paths]
    return None


def _run_group(
    evaluation: Evaluation,
    built: Mapping[str, list[Analysis]],
    beside: list[Any],
    scene: Scene,
    journal: Path,
    console: Console,
    checking: Checking,
) -> dict[str, Result]:
    """Run the analyses that look at the same images; in a dry run say what it would cost."""
    analyses = [analysis for own in built.values() for analysis in own] + beside
    with checking():
        runner = Runner(
            scene.network,
            scene.images,
            attacks=scene.attacks,
            batch_size=evaluation.batch_size,
            device=next(scene.network.parameters()).device,
            seed=evaluation.seed,
            num_workers=worker_count(evaluation.num_workers),
            progress=True,
            journal=journal,
            keep_journal=True,
            least_success=evaluation.least_success,
        )
        cost = runner.passes(analyses)
    costs = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in cost.items())
    console.print(f"  {', '.join(built)}: {costs}")
    if evaluation.dry_run:
        return {}
    results = runner.run(analyses)
    for line in runner.counts.told():
        console.print(f"  {line}")
    return results
