"""Runs the analyses that look at the same images."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.base.classes import aim_within
from lightning_advinterp.analyses.base.columns import BESIDE
from lightning_advinterp.analyses.base.costs import sweep_costs
from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.base.progress import Course, SweepBar
from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.provenance import digest
from lightning_advinterp.analyses.base.question import Data, Scene, declared_tables
from lightning_advinterp.analyses.base.remembered import REMEMBERED
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.cli.evaluation.groups import Group
from lightning_advinterp.cli.evaluation.place import Outcome, journal_of
from lightning_advinterp.cli.evaluation.prepared import Prepared
from lightning_advinterp.cli.evaluation.skipped import SkippedImages, report_bad_images
from lightning_advinterp.cli.evaluation.trial import estimate
from lightning_advinterp.core.result import Result, described, joined
from lightning_advinterp.data.loaders import worker_count
from lightning_advinterp.report.save import name_images, page_files


class Asked(NamedTuple):
    """What a group is asked, and what that costs.

    Attributes:
        scene: what its questions are asked of.
        work: of its sweeps, see :class:`~lightning_advinterp.analyses.base.costs.SweepCost`.
    """

    scene: Scene
    work: float


class GroupOutcome(NamedTuple):
    """What came of a group.

    Attributes:
        outcomes: by analysis.
        skipped: images that could not be read.
    """

    outcomes: dict[str, Outcome]
    skipped: list[str]


def scenes_of(
    prepared: Prepared, attacks: Mapping[Data, Mapping[str, Attack]], groups: Sequence[Group]
) -> dict[Group, Asked]:
    """Return what each group's questions are asked of, and build every question once before the first one runs.

    So what does not suit the last question is said before any work. A question that waits for what must run
    :meth:`~lightning_advinterp.analyses.base.question.Question.earlier` cannot be built yet.

    Args:
        prepared: the network and its images.
        attacks: on each set.
        groups: the analyses.

    Raises:
        ValueError: from the question, where single analyses were asked for.
    """
    scenes: dict[Group, Scene] = {}
    questions: dict[Group, Asked] = {}
    for group in groups:
        with prepared.checking(), prepared.left_out.whole(group.names):
            scenes[group] = _scene(prepared, attacks[group.data], group)
    for group, scene in scenes.items():
        plans, analyses = Plans(scene.network), list[Analysis]()
        for name in group.names:
            question = prepared.evaluation.questions[name]
            with prepared.checking(), prepared.left_out.single(name), _unheard():
                if question.earlier(scene) is None:
                    for analysis in question.build(scene):
                        plans.of(analysis)
                        analyses.append(analysis)
        costs = sweep_costs(analyses, plans, scene.attacks, len(scene.images))
        questions[group] = Asked(scene, sum(cost.work for cost in costs))
    return questions


def _scene(prepared: Prepared, attacks: Mapping[str, Attack], group: Group) -> Scene:
    evaluation, subject, opened = prepared.evaluation, prepared.subject, prepared.opened
    images = group.images(opened[group.data].reported, evaluation)
    if group.aims:
        assert images.labels is not None  # of images whose labels nobody says, nothing is known to aim at
        attacks = aim_within(attacks, images.labels, subject.network.num_classes)
    return Scene(
        subject.network,
        subject.outputs,
        attacks,
        images,
        evaluation.questions,
        group.names,
        evaluation.layers,
        evaluation.seed,
        files=opened[group.data].files,
        concepts=opened["concepts"].reported if "concepts" in opened else None,
        every_image=opened[group.data].reported,
    )


@contextmanager
def _unheard() -> Iterator[None]:
    """Let no warning through: what is built for a look is built again, and warns then."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


def evaluate_group(
    prepared: Prepared,
    scene: Scene,
    group: Group,
    folder: Path,
    before: Mapping[str, Outcome] = MappingProxyType({}),
    course: Course | None = None,
) -> GroupOutcome | None:
    """Run analyses that look at the same images; those that cannot be run are left out where all were asked for.

    Args:
        prepared: the network and its images.
        scene: what the group is asked of.
        group: the analyses.
        folder: where the states of an interrupted evaluation are.
        before: what analyses found that look at other images, by name.
        course: counts the work of all groups; None: that of the group's runs, each by itself.

    Returns:
        None in a dry run, or where nothing can be run.
    """
    left_out = prepared.left_out
    earlier_results = {name: joined(name, list(outcome.results.values())) for name, outcome in before.items()}
    while names := tuple(left_out.remaining(group.names)):
        scene = replace(scene, together=names, found=earlier_results)
        plans = Plans(scene.network)
        built = _build(prepared, scene, folder, plans)
        if len(left_out.remaining(names)) < len(names):
            continue  # the remaining analyses may build on what is left out
        # The name carries all that the states depend on: an interrupted evaluation goes on only as itself.
        attacks_made = prepared.origin["settings"]["attacks"]
        journal = journal_of(folder, prepared.key, digest(attacks_made, asdict(replace(group, names=names))))
        with left_out.running(built):
            return _run(prepared, scene, built, journal, plans, course)
    return None


def _build(prepared: Prepared, scene: Scene, folder: Path, plans: Plans) -> dict[str, list[Analysis]]:
    """Return the bound analyses of each question, once what must run before has run; one that fails is left out."""
    built: dict[str, list[Analysis]] = {}
    for name in scene.together:
        with prepared.left_out.single(name):
            scene = _after_earlier(prepared, scene, name, folder)
        with prepared.checking(), prepared.left_out.single(name):
            built[name] = prepared.evaluation.questions[name].build(scene)
            for analysis in built[name]:
                plans.of(analysis)
    return built


def _after_earlier(prepared: Prepared, scene: Scene, name: str, folder: Path) -> Scene:
    """Run what must run before a question can be built, and return the scene with what it found."""
    with prepared.checking():
        earlier = prepared.evaluation.questions[name].earlier(scene)
    if earlier is None:
        return scene
    unattacked = replace(scene, images=earlier.images, attacks={})
    journal = journal_of(folder, prepared.key, digest("earlier", name))
    title = f"{', '.join(analysis.name for analysis in earlier.analyses)} for {name}"
    runner = _runner(prepared, unattacked, journal, earlier.analyses, Plans(scene.network), names=[title])
    if prepared.evaluation.dry_run:
        return scene
    results = runner.run(earlier.analyses)
    return replace(scene, found={**scene.found, name: joined(name, list(results.values()))})


def _run(
    prepared: Prepared,
    scene: Scene,
    built: Mapping[str, Sequence[Analysis]],
    journal: Path,
    plans: Plans,
    course: Course | None,
) -> GroupOutcome | None:
    """Pass the images once, and draw the figures; in a dry run say what it would cost."""
    questions, images = prepared.evaluation.questions, scene.images
    skipped = SkippedImages(images)
    analyses: list[Any] = [*(analysis for several in built.values() for analysis in several), skipped]
    runner = _runner(prepared, scene, journal, analyses, plans, names=list(built), course=course)
    if prepared.evaluation.dry_run:
        if prepared.evaluation.trial_seconds:
            prepared.estimates.append(estimate(prepared, scene, built, plans))
        return None
    results = runner.run(analyses)
    for line in runner.counts.told():
        prepared.console.print(f"  {line}")
    name_images(results, images.path_of)
    outcomes: dict[str, Outcome] = {}
    for name, several in built.items():
        tables = declared_tables(name, questions)
        of_name = {analysis.name: described(results[analysis.name], tables, BESIDE) for analysis in several}
        joined_result, title = joined(name, list(of_name.values())), prepared.subject.title
        drawn = Outcome({key: result for key, result in of_name.items() if _holds(result)}, {}, {})
        if prepared.processes.first:
            figures, pages = questions[name].figures(joined_result, title), questions[name].pages(joined_result, title)
            drawn = drawn._replace(figures=figures, pages=page_files(name, pages))
        outcomes[name] = drawn
    report_bad_images(images, prepared.processes)  # where all wait for the first process to have drawn
    return GroupOutcome(outcomes, skipped.paths)


def _runner(
    prepared: Prepared,
    scene: Scene,
    journal: Path,
    analyses: Sequence[Any],
    plans: Plans,
    names: Sequence[str],
    course: Course | None = None,
) -> Runner:
    """Return what passes the images, and say the cost."""
    evaluation = prepared.evaluation
    with prepared.checking():
        runner = Runner(
            scene.network,
            scene.images,
            attacks=scene.attacks,
            batch_size=evaluation.batch_size,
            device=next(scene.network.parameters()).device,
            seed=evaluation.seed,
            num_workers=worker_count(evaluation.num_workers, prepared.processes.per_machine),
            progress=not prepared.console.quiet,
            watch=None if course is None else SweepBar(course, shown=prepared.shows_progress),
            journal=journal,
            keep_journal=True,
            least_success=evaluation.least_success,
            plans=plans,
            remember=REMEMBERED if evaluation.memory is None else 0,
            processes=prepared.processes,
            memory=evaluation.memory_limit,
            formats=prepared.formats,
        )
        cost = runner.passes(analyses)
    costs = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in cost.items())
    prepared.console.print(f"  {', '.join(names)}: {costs}")
    return runner


def _holds(result: Result) -> bool:
    """Whether there is something to store."""
    return bool(result.scalars or result.tables or result.arrays)
