"""The evaluation of one network: prepare, run, write."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from lightning_advinterp.analyses.base.progress import Course
from lightning_advinterp.analyses.base.trial import Estimate
from lightning_advinterp.cli.evaluation.calibration import attacks_on
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.evaluated import Evaluated, finished_before
from lightning_advinterp.cli.evaluation.groups import groups_of
from lightning_advinterp.cli.evaluation.inputs import Subject
from lightning_advinterp.cli.evaluation.memory import InMemory
from lightning_advinterp.cli.evaluation.place import Outcome, Place, save_evaluation, save_finished
from lightning_advinterp.cli.evaluation.prepared import Checking, Prepared, prepare
from lightning_advinterp.cli.evaluation.running import evaluate_group, scenes_of
from lightning_advinterp.cli.evaluation.stored import made_for, print_made_for
from lightning_advinterp.cli.evaluation.trial import describe, requested_processes
from lightning_advinterp.core.processes import ALONE, Processes


def evaluate_network(
    evaluation: Evaluation,
    subject: Subject,
    folder: Path,
    console: Console,
    checking: Checking = nullcontext,
    *,
    place: Place | None = None,
    record: Mapping[str, Any] = MappingProxyType({}),
    memory: InMemory = InMemory(),  # noqa: B008  # frozen
    processes: Processes = ALONE,
) -> Evaluated:
    """Run the analyses on one network and write its folder; nothing in a dry run.

    Args:
        evaluation: the settings.
        subject: the network.
        folder: held by this process, or by the first of several.
        console: where to print.
        checking: made anew around everything that looks at the input.
        place: of the command, where the folder is one of several.
        record: what else stands in the folder's record.
        memory: images in the place of those that are named.
        processes: this process among those that share the work; the first writes.
    """
    prepared = prepare(evaluation, subject, console, checking, memory, processes)
    evaluated = Evaluated(folder=None if evaluation.dry_run else folder, key=prepared.key)
    if not evaluation.dry_run:
        before = None
        if processes.first:
            (place or Place(folder, console)).make_way(folder, prepared.key, prepared.depends)
            before = finished_before(folder, prepared.key)
        if processes.of_first(before is not None):
            console.print("  done already, before the interruption")
            return replace(evaluated, results=before or {})
    outcomes = run(prepared, folder, record)
    evaluated = replace(evaluated, estimate=sum(prepared.estimates, Estimate()))
    if len(prepared.estimates) > 1:
        console.print(f"  in all {describe(evaluated.estimate, requested_processes(evaluation))}", soft_wrap=True)
    for outcome in outcomes.values():
        evaluated.results.update(outcome.results)
    if evaluated.results and processes.first:
        write(prepared, folder, outcomes, record)
        evaluated.finish()
    return evaluated


def run(prepared: Prepared, folder: Path, record: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Outcome]:
    """Attack the images and run the analyses, those together that look at the same images.

    Once some are done and others are not, their tables are written: a killed command leaves them.

    Args:
        prepared: the network and its images; attacks and skipped images are added to its provenance.
        folder: where the states of an interrupted evaluation are, and where results go.
        record: what else stands in the folder's record.

    Raises:
        ValueError: if no analysis can be run.
    """
    evaluation, network, console = prepared.evaluation, prepared.subject.network, prepared.console
    if network.untrained:
        console.print(f"  random weights in {network.untrained}: give --weights for a trained network")
    attacks, calibrated = attacks_on(evaluation, network, prepared.opened, prepared.device, console, prepared.processes)
    attacks = {data: {**by_name, **prepared.stored.get(data, {})} for data, by_name in attacks.items()}
    described = {data: {name: repr(attack) for name, attack in attacks[data].items()} for data in attacks}
    prepared.origin["settings"]["attacks"] = described
    prepared.origin.update(calibrated, made_for=made_for(attacks, network))
    print_made_for(prepared.origin["made_for"], console)
    outcomes: dict[str, Outcome] = {}
    labels = {data: images.reported.labels for data, images in prepared.opened.items()}
    groups = groups_of(evaluation, attacks, network.num_classes, labels, prepared.names)
    groups_asked = scenes_of(prepared, attacks, groups)
    course = Course(sum(group_asked.work for group_asked in groups_asked.values()))
    for number, (group, group_asked) in enumerate(groups_asked.items(), start=1):
        ended = evaluate_group(prepared, group_asked.scene, group, folder, outcomes, course)
        if ended is None:
            continue
        outcomes |= ended.outcomes
        entry = prepared.origin[group.data]
        entry["skipped"] = sorted({*entry.get("skipped", []), *ended.skipped})
        if number < len(groups_asked) and prepared.processes.first:
            save_finished(prepared.evaluation, folder, ended.outcomes, *_stated(prepared, ended.outcomes, record))
    with prepared.checking():
        prepared.left_out.refuse_if_all(prepared.names)
    return outcomes


def write(prepared: Prepared, folder: Path, outcomes: Mapping[str, Outcome], record: Mapping[str, Any]) -> None:
    """Write the files of what was found, and where each number comes from.

    Args:
        prepared: says what the numbers depend on.
        folder: held by this process.
        outcomes: what was found, by analysis.
        record: what else stands in the folder's record.
    """
    save_evaluation(prepared.evaluation, folder, outcomes, *_stated(prepared, outcomes, record))


def _stated(
    prepared: Prepared, outcomes: Mapping[str, Outcome], record: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the provenance, and what else stands in the folder's record."""
    origins: dict[str, Any] = {}
    for outcome in outcomes.values():
        origins |= {name: result.provenance for name, result in outcome.results.items() if result.provenance}
    origin = prepared.origin | ({"analyses": origins} if origins else {})
    reasons = prepared.left_out.reasons
    extra = {"depends_on": prepared.depends, **record} | ({"left_out": reasons} if reasons else {})
    return origin, extra
