"""Readers of what an earlier or interrupted command left in a folder, and of small files beside others."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch
import yaml

from fuzzing.reader import DAMAGE, Reader
from fuzzing.readers_networks import CLASS_PATH, backbone
from lightning_advinterp.cli.evaluation.outputs import read_outputs
from lightning_advinterp.core import locks
from lightning_advinterp.core.files import read_sealed, write_sealed
from lightning_advinterp.core.result import Result
from lightning_advinterp.data.layout import read_annotations
from lightning_advinterp.networks import create_network
from lightning_advinterp.report import save_results
from lightning_advinterp.report.store import belongings, differing, move_aside, new_place, read_record, recover
from lightning_advinterp.training.same_run import check_same_run


def _note(folder: Path) -> None:
    write_sealed(folder / "note.sealed", json.dumps({"accuracy": {"scalars": {"real/top1": 0.9}}}).encode())


def _noted(folder: Path) -> Any:
    content = read_sealed(folder / "note.sealed", "the note")
    if content is None:
        raise ValueError(f"{folder}: the work starts anew")
    return json.loads(content)


def _evaluation(folder: Path) -> None:
    rows = [{"image": number, "label": number} for number in range(3)]
    result = Result("predictions", {"n": 3.0}, {"predictions": rows})
    save_results(folder / "out", {"predictions": result}, {}, {"seed": 0})


def _record(folder: Path) -> Any:
    """What a second start takes the folder for; files that differ are told."""
    record = read_record(folder / "out")
    wrong = differing(folder / "out", record)
    if not record or wrong:
        raise ValueError(f"{folder}: no whole record, {wrong} differ")
    return sorted(belongings(folder / "out"))


def _moving(folder: Path) -> None:
    _evaluation(folder)
    place = new_place(folder / "out")
    place.mkdir()
    move_aside(folder / "out", ["index.html"], place)
    content = {"to": str(place), "names": ["predictions.csv"]}
    (folder / "out" / ".moving.json").write_text(json.dumps(content))


def _recovered(folder: Path) -> Any:
    recover(folder / "out")
    return sorted(path.name for path in folder.rglob("*"))


def _locked(folder: Path) -> None:
    note = {"host": "elsewhere", "pid": 12345, "started": "1", "since": "today", "token": "a"}
    (folder / locks.LOCK).write_text(json.dumps(note))


def _taken_over(folder: Path) -> Any:
    with mock.patch.object(locks, "PATIENCE", 0.1), locks.held(folder):
        return "held"


def _config(folder: Path) -> None:
    settings = {"seed_everything": 0, "model": {"network": "resnet18", "objective": None}, "data": {"class_path": "A"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))


def _same_run(folder: Path) -> Any:
    settings = {"seed_everything": 0, "model": {"network": "resnet18", "objective": None}, "data": {"class_path": "A"}}
    check_same_run(folder / "config.yaml", yaml.safe_dump(settings))
    return "the same run"


def _classes(folder: Path) -> None:
    (folder / "classes.txt").write_text("n01440764 tench\nn01443537 goldfish\ndog\n")


def _annotations(folder: Path) -> None:
    (folder / "val_annotations.txt").write_text("a.png\tn01440764\t0\t0\nb.png\tn01443537\t0\t0\n")


def _hub(folder: Path) -> None:
    safetensors.torch.save_file(backbone().state_dict(), folder / "model.safetensors")
    settings = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "config.json").write_text(json.dumps({"num_classes": 3, "pretrained_cfg": settings}))


def _hub_network(folder: Path) -> Any:
    network = create_network(CLASS_PATH, folder / "model.safetensors", input_size=16)
    return network.backbone.state_dict(), network.mean, network.std


READERS = (
    Reader("sealed note", _note, _noted, "evaluation", sealed=DAMAGE | {"text", "tree"}),
    Reader("evaluation's record", _evaluation, _record, "report"),
    Reader("evaluation's move", _moving, _recovered, "report"),
    Reader("lock", _locked, _taken_over, "locks"),
    Reader("run's configuration", _config, _same_run, "training", words=("name:", "model", "data", "seed_everything")),
    Reader("class list", _classes, lambda folder: read_outputs(folder / "classes.txt"), "data"),
    Reader("annotations", _annotations, read_annotations, "data"),
    Reader("hub's folder", _hub, _hub_network, "networks", words=("mean", "std")),
)
