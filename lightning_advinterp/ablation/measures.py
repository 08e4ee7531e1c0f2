"""What the networks of some arms are like beside their accuracy: any analysis, compared over seeds."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lightning_advinterp.cli.evaluation import Evaluation
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.names import markdown_cell, require_inside
from lightning_advinterp.core.reading import read_json
from lightning_advinterp.core.result import Row
from lightning_advinterp.report.store import is_sealed

_REMEDY = "remove its folder to measure anew"
_LARGEST = sys.float_info.max

RESERVED = ("last", "best", "masking", "autoattack")
"""Folders of the tests beside which evaluations lie."""


@dataclass(frozen=True)
class Measures:
    """What is measured, of the last epoch, from every seed of the plan.

    Attributes:
        arms: which are measured.
        evaluations: name to flags of ``evaluate.py`` without ``--checkpoint`` and ``--output``; ``{seed}`` stands for
            the seed, so that another arm's run of it can be named.
        show: patterns of the scalars that stand in ``ablation.md``; all stand in ``measures.csv``.
    """

    arms: list[str]
    evaluations: dict[str, str]
    show: list[str] = field(default_factory=lambda: ["*"])

    def __post_init__(self) -> None:
        for name in self.evaluations:
            require_inside(name, "measures: name of an evaluation")
        wrong = sorted(set(self.evaluations) & set(RESERVED))
        if wrong or not self.arms or not self.evaluations:
            raise ValueError(
                f"measures needs arms and evaluations, none of these named {', '.join(RESERVED)}; "
                f"got arms={self.arms} and evaluations named {', '.join(self.evaluations)}."
            )


def evaluation_of(flags: str, checkpoint: Path, output: Path, seed: int = 0) -> Evaluation:
    """Return what ``python evaluate.py FLAGS --checkpoint … --output …`` would do for a seed."""
    line = [*shlex.split(flags.replace("{seed}", str(seed))), "--checkpoint", str(checkpoint), "--output", str(output)]
    return read_evaluation(line)


def read_scalars(folder: Path) -> dict[str, float]:
    """Return the numbers of an evaluation by ``analysis/scalar``; those without a value are left out."""
    path = folder / "results.json"
    content = read_json(path, _REMEDY)
    stored = content.get("scalars") if isinstance(content, dict) else None
    if not isinstance(stored, dict) or not all(isinstance(scalars, dict) for scalars in stored.values()):
        raise DamagedFileError(f"{path} holds no scalars by analysis; {_REMEDY}.")
    if not is_sealed(content):
        raise DamagedFileError(f"{path} is not what was written; {_REMEDY}.")
    flat: dict[str, float] = {}
    for analysis, scalars in stored.items():
        for key, value in scalars.items():
            name = key if key.startswith(f"{analysis}/") else f"{analysis}/{key}"
            if isinstance(value, bool) or not isinstance(value, int | float | None) or abs(value or 0) > _LARGEST:
                raise DamagedFileError(f"{path}: {name} must be a number or null, got {str(value)[:40]!r}; {_REMEDY}.")
            if value is not None:
                flat[name] = float(value)
    return flat


def compare(name: str, runs: dict[str, list[dict[str, float]]], reference: str | None) -> list[Row]:
    """Compare the scalars of one evaluation over arms.

    Intervals are Student's over seeds, ``x̄ ± t(0.975, S − 1) s/√S``, differences paired by seed. The images are the
    same for all, so that an interval tells how another training would come out on these images, and the images' own
    spread is not in it.

    Args:
        name: of the evaluation.
        runs: arm to the scalars of its seeds, in one order.
        reference: an arm that the others are compared with.

    Returns:
        Rows ``evaluation, scalar, arm, seeds, mean, low, high`` and, but for the reference, ``difference,
        difference_low, difference_high``; a scalar that is missing in any run is left out; a single seed has no bounds.
    """
    rows: list[Row] = []
    every = [scalars for arm in runs.values() for scalars in arm]
    for key in [key for key in every[0] if all(key in scalars for scalars in every)]:
        values = {arm: np.array([scalars[key] for scalars in scalars_of_runs]) for arm, scalars_of_runs in runs.items()}
        for arm, scalars_of_runs in values.items():
            row: Row = {"evaluation": name, "scalar": key, "arm": arm, "seeds": len(scalars_of_runs)}
            row |= dict(zip(("mean", "low", "high"), _student(scalars_of_runs), strict=True))
            if reference in values and arm != reference:
                names = ("difference", "difference_low", "difference_high")
                row |= dict(zip(names, _student(scalars_of_runs - values[reference]), strict=True))
            rows.append(row)
    return rows


def _student(values: NDArray[np.float64]) -> tuple[float, float | None, float | None]:
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, None, None
    half = float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def measures_markdown(rows: Sequence[Row], show: Sequence[str]) -> str:
    """Return the scalars whose names match a pattern as Markdown tables, one per evaluation, arms across."""
    parts = []
    for name in dict.fromkeys(row["evaluation"] for row in rows):
        rows_of_evaluation = [
            row
            for row in rows
            if row["evaluation"] == name and any(fnmatch(row["scalar"], pattern) for pattern in show)
        ]
        if not rows_of_evaluation:
            continue
        arms = list(dict.fromkeys(row["arm"] for row in rows_of_evaluation))
        compared = [arm for arm in arms if any("difference" in row for row in rows_of_evaluation if row["arm"] == arm)]
        heads = ["", *arms, *(f"difference, {arm}" for arm in compared)]
        parts.append(f"{name}, last epoch, {rows_of_evaluation[0]['seeds']} seeds\n")
        parts.append("| " + " | ".join(map(markdown_cell, heads)) + " |\n" + "| --- " * len(heads) + "|")
        for key in dict.fromkeys(row["scalar"] for row in rows_of_evaluation):
            by = {row["arm"]: row for row in rows_of_evaluation if row["scalar"] == key}
            cells = [_cell(by[arm], "mean", "low", "high") for arm in arms]
            cells += [_cell(by[arm], "difference", "difference_low", "difference_high") for arm in compared]
            parts.append(f"| {markdown_cell(key)} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def _cell(row: Row, *names: str) -> str:
    value, low, high = (row[name] for name in names)
    sign = "+" if names[0] == "difference" else ""
    return f"{value:{sign}.3f}" + ("" if low is None else f" [{low:{sign}.3f}, {high:{sign}.3f}]")
