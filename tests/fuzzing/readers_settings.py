"""Readers of settings and of tables: configurations, distances, records of an ablation, its tables."""

import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.reader import Reader
from lightning_advinterp.ablation import recorded_settings
from lightning_advinterp.ablation.command import parser as ablation_parser
from lightning_advinterp.ablation.masking import Masking, masking_row
from lightning_advinterp.ablation.measures import read_scalars
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.ablation.table import _accuracy, hits
from lightning_advinterp.cli.adversarial import SetPlan
from lightning_advinterp.cli.adversarial import parser as set_parser
from lightning_advinterp.cli.evaluation import Evaluation
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.cli.parser import read_settings
from lightning_advinterp.core.result import Result
from lightning_advinterp.report import save_results
from lightning_advinterp.taxonomy.wordnet import class_distances

CLASSES = ("cat", "dog", "car")

EVALUATION = """\
checkpoint: runs/a/last.ckpt
analyses: accuracy,dissection
attack: [{type: fgsm, eps: 4/255}, {type: pgd, eps: 8/255, steps: 10}]
limit: 20
semantics: {share: 0.02, wnids: {cat: n02123394}}
"""
KEYS = (
    "analyses",
    "attack",
    "eps",
    "steps",
    "limit",
    "semantics",
    "share",
    "wnids",
    "targets",
    "arms",
    "seeds",
    "base",
    "train",
)

SET = "checkpoint: runs/a/last.ckpt\nattack: {type: pgd, eps: 4/255}\ntargets: 2\nlimit: 20\n"
PLAN = """\
base: [recipe.yaml]
arms: {standard: recipe.yaml, robust: recipe.yaml --model.lr 0.1}
seeds: [0, 1]
attack: [{type: fgsm, eps: 4/255}]
"""


def _config(text: str) -> Any:
    return lambda folder: (folder / "config.yaml").write_text(text)


def _settings(kind: type, parser: Any) -> Any:
    return lambda args: read_settings(kind, parser(), args)


def _yaml(name: str, text: str, parse: Any) -> Reader:
    def value(folder: Path) -> Any:
        return asdict(parse(["--config", str(folder / "config.yaml")]))

    return Reader(f"{name}'s YAML", _config(text), value, name, words=KEYS, pipes=True)


def _matrix(folder: Path) -> None:
    np.save(folder / "distances.npy", np.array([[0.0, 1, 4], [1, 0, 5], [4, 5, 0]]))


def _matrix_csv(folder: Path) -> None:
    (folder / "distances.csv").write_text(",cat,dog,car\ncat,0,1,4\ndog,1,0,5\ncar,4,5,0\n")


def _links(folder: Path) -> None:
    rows = ("cat,animal", "dog,animal", "animal,thing", "car,thing", "thing,")
    (folder / "links.csv").write_text("child,parent\n" + "\n".join(rows) + "\n")


def _distances(folder: Path) -> Any:
    paths = [folder / name for name in ("distances.csv", "distances.npy", "links.csv")]
    path = next((path for path in paths if os.path.lexists(path)), folder / "links.csv")
    return class_distances(CLASSES, hierarchy=path)


def _sane_distances(value: Any) -> bool:
    """Symmetric, 0 on the diagonal alone or at least there, never negative, never NaN."""
    return bool((value >= 0).all() and (value == value.T).all() and (value.diagonal() == 0).all())


def _record(folder: Path) -> None:
    recorded_settings.note(
        folder / "asked.json", recorded_settings.testing(_test(folder), {"flags": ["--model.lr", "0.1"]})
    )


def _test(folder: Path) -> Evaluation:
    return Evaluation(checkpoint=str(folder / "last.ckpt"), output=str(folder / "a-0/test/last"), analyses="accuracy")


def _recorded(folder: Path) -> Any:
    recorded_settings.require_same(
        folder / "asked.json", recorded_settings.testing(_test(folder), {"flags": ["--model.lr", "0.1"]})
    )
    return "same settings"


def _tables(folder: Path) -> None:
    shares = {"real": 0.9, "fgsm": 0.6, "pgd50": 0.5, "square": 0.55, "transfer": 0.9, "pgd_2eps": 0.2, "pgd_8eps": 0.0}
    accuracy = [{"images": name, "n": 4, "top1": share, "eps": None} for name, share in shares.items()]
    predictions = [{"image": number, "label": number % 3, "real": number % 3, "fgsm": 1} for number in range(4)]
    results = {
        "accuracy": Result("accuracy", {"real/top1": 0.9, "fgsm/top1": 0.6}, {"accuracy": accuracy}),
        "predictions": Result("predictions", {}, {"predictions": predictions}),
    }
    save_results(folder, results, {}, {"seed": 0})
    (folder / "index.html").unlink()


def _accuracies(folder: Path) -> Any:
    return masking_row(Masking(growth=[2, 8]), "a", 0, _accuracy(folder))


def _shares(value: Any) -> bool:
    numbers = [number for number in value.values() if isinstance(number, float)]
    return all(0 <= number <= 1 for number in numbers) and value["n"] > 0


def _finite(value: Any) -> bool:
    return all(math.isfinite(number) for number in value.values())


READERS = (
    _yaml("evaluation", EVALUATION, read_evaluation),
    _yaml("set", SET, _settings(SetPlan, set_parser)),
    _yaml("ablation", PLAN, _settings(Plan, ablation_parser)),
    Reader("distances .npy", _matrix, _distances, "taxonomy", _sane_distances),
    Reader("distances .csv", _matrix_csv, _distances, "taxonomy", _sane_distances),
    Reader("parent links", _links, _distances, "taxonomy", _sane_distances),
    Reader("ablation's record", _record, _recorded, "ablation"),
    Reader("predictions.csv", _tables, lambda folder: hits(folder), "ablation"),
    Reader("accuracy.csv", _tables, _accuracies, "ablation", _shares),
    Reader("results.json", _tables, read_scalars, "ablation", _finite),
)
