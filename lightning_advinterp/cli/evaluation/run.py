"""One command for every analysis: from an :class:`Evaluation` to files."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.analyses.base.trial import Estimate
from lightning_advinterp.analyses.dissection.config import CONTROLS
from lightning_advinterp.cli.evaluation.compared import compared
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.copied import copy_evaluation, print_unlike, require_apart
from lightning_advinterp.cli.evaluation.evaluated import Evaluated
from lightning_advinterp.cli.evaluation.inputs import CONCEPT_WORLD, check_subject
from lightning_advinterp.cli.evaluation.memory import InMemory
from lightning_advinterp.cli.evaluation.place import Place
from lightning_advinterp.cli.evaluation.prepared import Checking
from lightning_advinterp.cli.evaluation.printed import print_tables
from lightning_advinterp.cli.evaluation.single import evaluate_network
from lightning_advinterp.cli.evaluation.trial import describe, requested_processes
from lightning_advinterp.cli.processes import require_processes
from lightning_advinterp.core.devices import choose_device
from lightning_advinterp.core.locks import held
from lightning_advinterp.core.names import untaken
from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.core.settings import check_numbers
from lightning_advinterp.core.trust import trusting, vouch_for
from lightning_advinterp.data.broden.findings import HELP
from lightning_advinterp.data.decode import open_image
from lightning_advinterp.data.loaders import worker_count
from lightning_advinterp.networks.choice import NetworkChoice
from lightning_advinterp.report.command import write_page
from lightning_advinterp.report.save import save_table
from lightning_advinterp.report.table import summary_of


@trusting()
def run_evaluation(
    evaluation: Evaluation,
    console: Console,
    checking: Checking = nullcontext,
    record: Mapping[str, Any] = MappingProxyType({}),
    memory: InMemory = InMemory(),  # noqa: B008  # frozen
    processes: Processes = ALONE,
) -> dict[str, dict[str, Result]]:
    """Evaluate every network asked for, write its files, and print the tables.

    Args:
        evaluation: what is asked for.
        console: where to print.
        checking: made anew around everything that looks at the input.
        record: what else is to stand in the output's ``results.json``.
        memory: networks and images in the place of those that are named.
        processes: this process among those that share the work; the first prints, locks the output and writes.

    Returns:
        Results by analysis, by network.

    Raises:
        ValueError, FileNotFoundError: naming the argument, before any work is done for it.
    """
    vouch_for(evaluation, files=evaluation.trust, on_bad_weights=evaluation.on_bad_weights)
    with ExitStack() as stack:
        with checking():
            require_processes(evaluation, processes.size, evaluation.dry_run)
            beside = compared(evaluation.compare)
            stored = {name: entry for name, entry in beside.items() if isinstance(entry, Path)}
            networks = {name: entry for name, entry in beside.items() if isinstance(entry, NetworkChoice)}
            subjects = _check(evaluation, networks, console, memory)
            for folder in stored.values():
                require_apart(folder, Path(evaluation.output))
            if processes.first and not evaluation.dry_run:
                for name in dict.fromkeys(("", *subjects, *stored)):
                    stack.enter_context(held(Path(evaluation.output) / name))
        return _evaluate_each(evaluation, subjects, stored, console, checking, record, memory, processes)


def _evaluate_each(
    evaluation: Evaluation,
    subjects: Mapping[str, Evaluation],
    stored: Mapping[str, Path],
    console: Console,
    checking: Checking,
    record: Mapping[str, Any],
    memory: InMemory,
    processes: Processes,
) -> dict[str, dict[str, Result]]:
    results: dict[str, dict[str, Result]] = {}
    finished: list[Evaluated] = []
    output = Path(evaluation.output)
    place = Place(output, console)
    folders = [name for name in (*subjects, *stored) if name]
    writes_table = bool(evaluation.rows) and processes.first
    if writes_table and not evaluation.dry_run:
        place.make_way_for_table(folders)
        save_table(output, folders, [])
    for name, evaluation_of_row in subjects.items():
        with checking():
            try:
                subject = memory.of(name).subject(evaluation_of_row)
            except OSError as error:  # no such file, or weights that cannot be downloaded
                if not evaluation.rows:
                    raise
                console.print(f"{name}: left out, {error}")
                continue
        row_record: Mapping[str, Any] = {} if name else {**record, "folders": folders}
        finished.append(
            evaluate_network(
                evaluation_of_row,
                subject,
                output / name,
                console,
                checking,
                place=place,
                record=row_record,
                memory=memory.of(name),
                processes=processes,
            )
        )
        if finished[-1].results:
            label = name if evaluation.rows else untaken(subject.title, results)
            results[label] = finished[-1].results
    _print_total(evaluation, finished, console)
    if not finished:
        console.print("none of the table's networks is here: nothing was evaluated")
    if writes_table and results:
        save_table(output, folders, measured_beside_printed(evaluation, results))
    if results and processes.first:
        results |= _copied(output, stored, place, results, console)
        if folders:
            write_page([output])  # the first one's shows it alone
    for each in finished if processes.first else ():  # an interrupted table goes on where it stopped
        each.forget()
    if results and processes.first:
        print_tables(evaluation, results, console)
        console.print(f"written to     {evaluation.output}/ (tables, figures, results.json, index.html)")
    return results


def _print_total(evaluation: Evaluation, finished: Sequence[Evaluated], console: Console) -> None:
    """Print what all networks of a dry run would cost together."""
    if len([each for each in finished if each.estimate.seconds]) > 1:
        total = sum((each.estimate for each in finished), Estimate())
        console.print(f"all networks: {describe(total, requested_processes(evaluation))}", soft_wrap=True)


def _copied(
    output: Path, stored: Mapping[str, Path], place: Place, results: Collection[str], console: Console
) -> dict[str, dict[str, Result]]:
    """Copy the evaluations that ``--compare`` takes as they are, and return their results by network."""
    copies: dict[str, dict[str, Result]] = {}
    for name, source in stored.items():
        title, results_of_copy = copy_evaluation(source, output / name, place, console)
        copies[untaken(title, {*results, *copies})] = results_of_copy
        print_unlike(output, output / name, source, console)
    return copies


def _check(
    evaluation: Evaluation, networks: Mapping[str, NetworkChoice], console: Console, memory: InMemory
) -> dict[str, Evaluation]:
    """Look at all that can be looked at before any work is done; return what is to be evaluated, by its name."""
    check_numbers(evaluation)
    evaluation.question_names()
    evaluation.attacks()
    choose_device(evaluation.device)
    worker_count(evaluation.num_workers)
    if evaluation.rows and evaluation.compare:
        raise ValueError("compare: a table's networks are its rows; add a row, or leave rows out.")
    subjects = {"": evaluation}
    # Settings of the first network, such as its number of classes, say nothing of another.
    subjects |= {name: replace(evaluation, **vars(network)) for name, network in networks.items()}
    names = [row.name for row in evaluation.rows]
    if len(set(names)) < len(names):
        raise ValueError(f"rows: every row of the table needs a name of its own, got {', '.join(names)}.")
    if evaluation.rows:
        subjects = {row.name: replace(evaluation, **evaluation.laid_over(row)) for row in evaluation.rows}
    _check_files(evaluation, Path(evaluation.output), console)
    for name, evaluation_of_row in list(subjects.items())[1:]:  # faults show before the first is evaluated
        _check_other(evaluation_of_row, memory.of(name))
    return subjects


def _check_other(evaluation: Evaluation, memory: InMemory) -> None:
    """See that a further network can be evaluated on the same images; a row of a table that is absent is left out.

    Raises:
        ValueError, FileNotFoundError: if it cannot.
    """
    try:
        subject = memory.subject(evaluation)
    except OSError:
        if not evaluation.rows:
            raise
        return
    check_subject(evaluation, subject, channels=memory.channels)
    if evaluation.question_names("data") and not evaluation.asks_for_all:
        memory.load_images(replace(evaluation, limit=1), subject)  # are its classes those of the folders?


def _check_files(evaluation: Evaluation, output: Path, console: Console) -> None:
    """Refuse an output that cannot be written and inputs that are not there, before any work is done."""
    place = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ValueError(f"output: cannot write to {evaluation.output!r}, since {str(place)!r} is no writable folder.")
    concepts = [] if evaluation.concepts in (None, CONCEPT_WORLD) else [evaluation.concepts]
    for flag, paths, remedy in (("images", evaluation.images, ""), ("concepts", concepts, f" {HELP}")):
        for path in paths:
            if not Path(path).exists():
                raise FileNotFoundError(f"{flag}: there is no {path!r}.{remedy}")
    for path in evaluation.images:
        with open_image(path):  # its content says that it is an image, not its name
            pass
    names = evaluation.question_names()
    used = frozenset[str]().union(*(evaluation.questions[name].uses for name in names))
    unused = [flag for flag in ("images", "concepts", "layers") if getattr(evaluation, flag) and flag not in used]
    if unused:
        console.print(f"{', '.join(unused)}: no use to {', '.join(names)}")


def measured_beside_printed(
    evaluation: Evaluation, results_of_networks: Mapping[str, Mapping[str, Result]]
) -> list[Row]:
    """Return a paper's values with those measured beside them, for all networks that were there.

    Dissection's controls, which look at real images, stand beside what was measured on these.

    Args:
        evaluation: whose rows have printed values.
        results_of_networks: results by analysis, by network.
    """
    beside: list[Row] = []
    for row in evaluation.rows:
        results = results_of_networks.get(row.name, {})
        measured: dict[tuple[str, str], Any] = {}
        controls: dict[tuple[str, str], Row] = {}
        if "accuracy" in results:
            measured |= {
                (measured_row["images"], key): measured_row[key]
                for measured_row in results["accuracy"].tables["accuracy"]
                for key in measured_row
            }
        if "dissection" in results:
            summary = summary_of(results["dissection"].tables["dissection_summary"])
            measured |= {
                (measured_row["images"], measured_row["category"]): measured_row["ratio"] for measured_row in summary
            }
            controls = {
                (REAL, measured_row["category"]): {
                    name: measured_row[name] for name in CONTROLS if name in measured_row
                }
                for measured_row in summary
                if measured_row["images"] == REAL
            }
        for images, values in row.printed.items():
            for key, value in values.items():
                if (images, key) in measured:
                    what = {"name": row.name, "images": images, "measure": key}
                    found_here = {"measured": measured[images, key], "printed": value}
                    beside.append(what | found_here | controls.get((images, key), {}))
        for name, result in results.items():
            question = evaluation.questions.get(name)
            if isinstance(question, Question):
                beside += [{"name": row.name} | line for line in question.beside_printed(result, row.printed)]
    return beside
