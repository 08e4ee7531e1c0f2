"""What ``--compare`` names: further networks to be evaluated alike, and evaluations that lie in folders already."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.networks.choice import NetworkChoice
from lightning_advinterp.networks.zoo.robustbench import needs_weights
from lightning_advinterp.report.load import readable_record
from lightning_advinterp.report.store import read_record

Compare = NetworkChoice | tuple[NetworkChoice | str, ...] | str | None
"""How a command line or a configuration says what an evaluation stands beside."""

FOLDER = "compare"
"""The first stands in this folder of the output, the second in ``compare-2``, and so on."""


def folder_of(place: int) -> str:
    """Return the folder, below the output, of the network that stands at a place, which counts from 0."""
    return FOLDER if place == 0 else f"{FOLDER}-{place + 1}"


def compared(compare: Any) -> dict[str, NetworkChoice | Path]:
    """Return networks, and folders of evaluations, by the names of the folders that they stand in.

    Args:
        compare: a checkpoint, the settings of a network, the folder of an evaluation, or several of these.

    Raises:
        ValueError: naming the entry that is none of these, or that stands twice.
        FileNotFoundError: if there is no such checkpoint, or a folder holds no evaluation.
        DamagedFileError: if its files are not what was written.
    """
    if isinstance(compare, str) and compare.lstrip().startswith(("[", "{")):
        compare = yaml.safe_load(compare)
    if compare is None or compare == "":
        return {}
    single = isinstance(compare, str | Mapping | NetworkChoice)
    entries = [_entry(entry) for entry in ([compare] if single else compare)]
    for place, entry in enumerate(entries):
        if entry in entries[:place]:
            raise ValueError(f"compare: {_called(entry)} stands twice; name it once.")
    return {folder_of(place): entry for place, entry in enumerate(entries)}


def _entry(entry: Any) -> NetworkChoice | Path:
    if isinstance(entry, str) and entry.lstrip().startswith("{"):
        entry = yaml.safe_load(entry)
    if isinstance(entry, Mapping):
        names = [field.name for field in fields(NetworkChoice)]
        unknown = [str(name) for name in entry if name not in names]
        if unknown:
            raise ValueError(f"compare: a network has no {', '.join(unknown)}; its settings are {', '.join(names)}.")
        entry = NetworkChoice(**entry)
    if isinstance(entry, NetworkChoice):
        if (entry.network is None) == (entry.checkpoint is None):
            raise ValueError(
                "compare: a network needs either network (with weights) or checkpoint, "
                f"got network={entry.network!r} and checkpoint={entry.checkpoint!r}."
            )
        return entry
    text = str(entry)
    if Path(text).is_dir():
        return _stored(Path(text))
    if Path(text).suffix == ".ckpt" or Path(text).is_file():
        return NetworkChoice(checkpoint=text)
    raise ValueError(f"compare: {text!r} is no checkpoint and no folder of an evaluation; {needs_weights(text)}")


def _stored(folder: Path) -> Path:
    """Return the folder if it holds the evaluation of one network, whole."""
    record = read_record(folder)
    folders = [str(folder / str(name)) for name in (record or {}).get("folders") or ()]
    if record and "scalars" not in record and folders:
        raise ValueError(f"compare: {folder} is a table of several networks; name them, [{', '.join(folders)}].")
    try:
        readable_record(folder)
    except (FileNotFoundError, DamagedFileError) as error:
        checkpoints = " A run is named by its checkpoint." if (folder / "last.ckpt").exists() else ""
        raise type(error)(f"compare: {error}{checkpoints}") from None
    return folder.resolve()


def _called(entry: NetworkChoice | Path) -> str:
    if isinstance(entry, Path):
        return str(entry)
    return str(entry.checkpoint or entry.network)
