"""The folder that an evaluation writes into: what another evaluation left there is moved aside, and nothing else."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich.console import Console

from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.dependence import differences, joined_provenance
from lightning_advinterp.core.files import write_text
from lightning_advinterp.core.reading import read_json
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.save import save_results, written
from lightning_advinterp.report.store import (
    JOURNALS,
    STARTED,
    belongings,
    differing,
    journals,
    move_aside,
    new_place,
    read_record,
    recover,
)
from lightning_advinterp.report.vector import figure_formats

_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What one analysis found.

    Attributes:
        results: by name; an analysis may have several.
        figures: by name.
        pages: HTML by the file's name.
    """

    results: dict[str, Result]
    figures: dict[str, Figure]
    pages: dict[str, str]


class Place:
    """The output of one command, with its subfolders.

    Args:
        output: the folder.
        console: where to print what is moved.
    """

    def __init__(self, output: Path, console: Console) -> None:
        self.output, self._console = output, console
        self._aside: Path | None = None

    def make_way(self, folder: Path, key: str, depends: Mapping[str, str]) -> None:
        """Move aside what another evaluation left in a folder; the same one, or a part of it, stays.

        Args:
            folder: the output or a folder below it, held by this process.
            key: of this evaluation's states.
            depends: what its numbers depend on.
        """
        recover(folder)
        record = read_record(folder)
        if record is not None and (differing_settings := differences(record.get("depends_on"), depends)):
            self._move(folder, belongings(folder), f"another evaluation (other {', '.join(differing_settings)})")
            for name in record.get("folders") or ():
                if _plain(name):
                    recover(folder / name)
                    unfinished = [path for paths in journals(folder / name).values() for path in paths]
                    self._move(folder / name, [*unfinished, *belongings(folder / name)], "its other networks")
        for earlier, names in journals(folder).items():
            if all(name.startswith(STARTED) for name in names):  # it ended before its first number
                for name in names:
                    (folder / name).unlink(missing_ok=True)
                continue
            differing_settings = [] if earlier == key else differences(_started(folder, earlier), depends)
            if differing_settings:
                self._move(folder, names, f"an unfinished evaluation (other {', '.join(differing_settings)})")
        write_text(folder / f"{STARTED}{key}.json", json.dumps(depends))

    def make_way_for_table(self, names: Sequence[str]) -> None:
        """Move aside what no table of these networks left in the output itself."""
        recover(self.output)
        record = read_record(self.output)
        if record is None:
            return
        if "scalars" in record or "files" not in record:
            self._move(self.output, belongings(self.output), "an evaluation of one network")
        for name in record.get("folders") or ():
            if _plain(name) and name not in names:
                recover(self.output / name)
                self._move(self.output / name, belongings(self.output / name), "a network that is no longer asked for")

    def make_way_for_copy(self, folder: Path, record: Mapping[str, Any]) -> None:
        """Move aside what is no copy of this record's evaluation.

        Args:
            folder: below the output, held by this process.
            record: of what is to be copied there.
        """
        recover(folder)
        unfinished = [path for paths in journals(folder).values() for path in paths]
        before = read_record(folder)
        earlier = belongings(folder) if before is None or before.get("files") != record["files"] else []
        self._move(folder, [*unfinished, *earlier], "another evaluation")

    def _move(self, folder: Path, names: Sequence[str], what: str) -> None:
        if not names:
            return
        if self._aside is None:
            self._aside = new_place(self.output)
        target = self._aside / folder.absolute().relative_to(self.output.absolute())
        try:
            move_aside(folder, names, target)
        except OSError as error:
            raise OSError(
                f"output: {folder} holds {what}, which cannot be moved to {target} ({error.strerror or error}); choose "
                "another output."
            ) from error
        with suppress(OSError):
            if folder.absolute() != self.output.absolute():
                folder.rmdir()
        self._console.print(f"{folder} held {what}: moved to {target}", soft_wrap=True, markup=False, highlight=False)


def forget_states(folder: Path, key: str) -> None:
    """Delete what a finished evaluation left for the case that it is interrupted."""
    for name in journals(folder).get(key, []):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def journal_of(folder: Path, key: str, group: str) -> Path:
    """Return the file of a group's states; the name says whose they are."""
    return folder / f"{JOURNALS}{key}-{group}"


def note_of(folder: Path, key: str) -> Path:
    """Return the file that says that a network is done with."""
    return folder / f"{JOURNALS}{key}.json"


def save_evaluation(
    evaluation: Evaluation,
    folder: Path,
    outcomes: Mapping[str, Outcome],
    origin: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> None:
    """Write what was found; other analyses of the same evaluation that the folder holds stay, whole.

    Args:
        evaluation: the settings.
        folder: held by this process; what is in it belongs to this evaluation.
        outcomes: what was found, by analysis.
        origin: the provenance.
        extra: what else stands in the record; of ``depends_on`` those of the analyses that stay are added.
    """
    record = read_record(folder) or {}
    before = record.get("analyses") or {}
    staying = [name for name in before if name not in outcomes]
    lost = set(differing(folder, record))
    listed = set(record.get("results") or ())
    staying = [
        name for name in staying if not lost & set(before[name]["files"]) and set(before[name]["results"]) <= listed
    ]
    gone = [name for name in before if name not in outcomes and name not in staying]
    if gone:
        _log.warning("%s: files of %s were changed or are missing: not kept; ask for it anew.", folder, ", ".join(gone))
    keep = None
    if staying:
        files = {file: record["files"][file] for name in staying for file in before[name]["files"]}
        scalars = {name: record["scalars"][name] for analysis in staying for name in before[analysis]["results"]}
        stored = {name: record["results"][name] for analysis in staying for name in before[analysis]["results"]}
        keep = {"files": files, "scalars": scalars, "results": stored}
        origin = joined_provenance(evaluation, record["provenance"], staying, origin, list(outcomes))
        extra = {**extra, "depends_on": {**record["depends_on"], **extra["depends_on"]}}
    formats = figure_formats(evaluation.figures)
    analyses = {name: before[name] for name in staying} | {
        name: {
            "results": list(outcome.results),
            "files": list(written(outcome.results, outcome.figures, outcome.pages, formats)),
        }
        for name, outcome in outcomes.items()
    }
    results = {name: result for outcome in outcomes.values() for name, result in outcome.results.items()}
    figures = {name: figure for outcome in outcomes.values() for name, figure in outcome.figures.items()}
    pages = {name: page for outcome in outcomes.values() for name, page in outcome.pages.items()}
    more = {**extra, "analyses": analyses}
    save_results(folder, results, figures, origin, pages=pages, more=more, keep=keep, formats=formats)


def save_finished(
    evaluation: Evaluation,
    folder: Path,
    outcomes: Mapping[str, Outcome],
    origin: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> None:
    """Write the tables of analyses that are done while others are not; figures, pages and arrays come at the end.

    What the folder holds already of this evaluation, from a time before, is more and stays.

    Args:
        evaluation: as :func:`save_evaluation`'s, and so are the others.
        folder: likewise.
        outcomes: likewise.
        origin: likewise.
        extra: likewise.
    """
    recorded = (read_record(folder) or {}).get("analyses") or {}
    tables: dict[str, Outcome] = {}
    for name, outcome in outcomes.items():
        if name not in recorded:
            results = {key: replace(result, arrays={}) for key, result in outcome.results.items()}
            tables[name] = Outcome(results, {}, {})
    if tables:
        save_evaluation(evaluation, folder, tables, origin, extra)


def _started(folder: Path, key: str) -> Any:
    try:
        return read_json(folder / f"{STARTED}{key}.json")
    except (OSError, ValueError):
        return None


def _plain(name: Any) -> bool:
    """Whether a name from a file is that of a folder below."""
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name
