"""Evaluations that ``--compare`` takes as they are: copied beside the new one, and held against it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_advinterp.cli.evaluation.dependence import differences
from lightning_advinterp.cli.evaluation.place import Place
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.load import read_results, readable_record
from lightning_advinterp.report.page.stored import network_title
from lightning_advinterp.report.store import RECORD, differing, read_record, staged

_OF_NETWORK = ("network", "bases", "members")
"""What the numbers of two networks may depend on and still be held against one another."""


def require_apart(source: Path, output: Path) -> None:
    """Refuse to copy an evaluation into the folder that it lies in.

    Raises:
        ValueError: saying what to do.
    """
    target, origin = output.resolve(), source.resolve()
    if origin == target or target in origin.parents or origin in target.parents:
        raise ValueError(f"compare: {source} and the output {output} lie in one another; choose another output.")


def copy_evaluation(source: Path, folder: Path, place: Place, console: Console) -> tuple[str, dict[str, Result]]:
    """Copy what belongs to an evaluation, its record last; what another one left in the place is moved aside.

    Args:
        source: the evaluation.
        folder: held by this process.
        place: the output of the command.
        console: where to print.

    Returns:
        What its network is called, and its results by analysis.

    Raises:
        DamagedFileError: if it was changed since it was looked at.
    """
    record = readable_record(source)
    place.make_way_for_copy(folder, record)
    with staged(folder) as stage:
        for name in (*record["files"], RECORD):
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, stage / name)
        if changed := differing(stage, read_record(stage)):
            raise DamagedFileError(f"compare: {source} changed while it was copied ({', '.join(changed)}).")
    title = network_title(record, source.name)
    console.print(f"{title}: from {source}, as it was evaluated", markup=False, highlight=False, soft_wrap=True)
    return title, read_results(folder)


def print_unlike(folder: Path, copy: Path, source: Path, console: Console) -> None:
    """Print what two evaluations do not share beside their networks: differences between them are not the networks'.

    Args:
        folder: of this evaluation.
        copy: of the one held against it.
        source: what that is called.
        console: where to print.
    """
    unlike = unlike_settings(read_record(folder) or {}, read_record(copy) or {})
    if unlike:
        console.print(
            f"{source} was evaluated with other {', '.join(unlike)}: what differs is not due to the networks alone",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def unlike_settings(record: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    """Return what the numbers of two evaluations depend on and do not share, but for their networks.

    Args:
        record: of one folder.
        reference: of another.
    """
    now: Mapping[str, str] = record.get("depends_on") or {}
    return [name for name in differences(reference.get("depends_on"), now) if name not in _OF_NETWORK]
