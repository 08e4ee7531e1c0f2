"""What runs and tests were asked for: nothing that was made under other settings is taken for what is asked now."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.cli.evaluation import Evaluation
from lightning_advinterp.cli.processes import FLAGS as PROCESS_FLAGS
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.files import write_text
from lightning_advinterp.core.reading import read_json, read_text
from lightning_advinterp.core.shipped import configuration
from lightning_advinterp.core.trust import named_networks
from lightning_advinterp.core.yaml_files import load_yaml

_ELSEWHERE = (
    *("checkpoint", "output", "device", "num_workers", "batch_size", "dry_run", "trust", "on_bad_weights"),
    *PROCESS_FLAGS,
)
"""What does not change an evaluation's numbers, or moves with its folder."""

TRAINING = "training"
"""The entry of a test's settings that says how its run was trained."""


def training(plan: Plan, arm: str, seed: int) -> dict[str, Any]:
    """Return what decides a run: the content of its configurations and its flags, but not where it lies."""
    command = plan.command(arm, seed)
    places = [place for place, flag in enumerate(command) if flag == "--config"]
    hidden = {at for place in (*places, command.index("--output")) for at in (place, place + 1)}
    configs = [load_yaml(Path(configuration(command[place + 1]))) for place in places]
    return {"configs": configs, "flags": [flag for place, flag in enumerate(command) if place not in hidden]}


def networks(plan: Plan) -> Iterator[str]:
    """Yield the networks that a plan's configurations and flags name: their classes are the user's own."""
    for arm in plan.arms:
        settings = training(plan, arm, plan.seeds[0])
        yield from named_networks(settings["configs"])
        yield from (word for flag in settings["flags"] for word in flag.split("=")[-1:])
    yield from named_networks(plan)


def testing(evaluation: Evaluation, trained: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides an evaluation of a checkpoint of the plan; other runs of it are named from its output.

    Args:
        evaluation: the settings.
        trained: what decided the run that it tests.
    """
    settings = {key: value for key, value in asdict(evaluation).items() if key not in _ELSEWHERE}
    output = str(Path(evaluation.output).parents[2])  # above the run, test/ and the evaluation's own folder
    moved: dict[str, Any] = json.loads(_text(settings).replace(json.dumps(output + "/")[1:-1], ""))
    return moved | {TRAINING: json.loads(_text(trained))}


def note(path: Path, settings: Mapping[str, Any]) -> None:
    """Write down what was asked for."""
    write_text(path, _text(settings))


def require_same(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse what was made under other settings.

    Args:
        path: where they were noted; of what has no note nothing is known, and it is taken as it is.
        settings: the settings now.

    Raises:
        ValueError: naming the folder and the settings that differ.
    """
    remedy = f"remove {path.parent} to make it anew"
    if not path.exists() or not read_text(path, remedy):
        return
    before = read_json(path, remedy)
    if not isinstance(before, dict):
        raise DamagedFileError(f"{path} holds no settings; {remedy}.")
    if TRAINING not in before:  # of an earlier version
        settings = {key: value for key, value in settings.items() if key != TRAINING}
    compare(path.parent, before, settings, f", or empty its file {path.name} to take it as it is")


def compare(folder: Path, before: Mapping[str, Any], settings: Mapping[str, Any], more: str = "") -> None:
    """Refuse what lies in a folder if its settings are others than those that are asked for.

    Args:
        folder: for the message.
        before: the settings of what is there.
        settings: the settings now.
        more: what else can be done.

    Raises:
        ValueError: naming the folder and the settings that differ.
    """
    was, now = _said(before), _said(json.loads(_text(settings)))
    differ = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    if differ:  # settings that came with a later version may be missing
        remedies = f"choose another output, or remove that folder to make it anew{more}"
        raise ValueError(f"{folder} was made with other {', '.join(differ)} than are asked for now; {remedies}.")


def _said(value: Any) -> Any:
    """Return settings without those that say nothing, at any depth."""
    if isinstance(value, Mapping):
        return {key: _said(entry) for key, entry in value.items() if entry is not None}
    return [_said(entry) for entry in value] if isinstance(value, list) else value


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, default=str) + "\n"
