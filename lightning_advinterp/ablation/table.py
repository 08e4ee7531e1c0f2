"""From the single predictions of all runs to one table with paired intervals, and the frontier."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_advinterp.ablation.masking import masking_row
from lightning_advinterp.ablation.matched import distinct_runs, matched_rows
from lightning_advinterp.ablation.measures import compare, read_scalars
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.ablation.run import tested
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.names import markdown_cell
from lightning_advinterp.core.reading import read_rows
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.metrics.bootstrap import paired_bootstrap
from lightning_advinterp.report.styles import styles

_REMEDY = "remove its folder to test anew"

Outcomes = dict[str, NDArray[np.bool_]]


def hits(folder: Path) -> Outcomes:
    """Read one evaluation: image kind to bool ``[N]``, whether each image is classified rightly."""
    rows = read_rows(folder / "predictions.csv", ("image", "label", REAL), _REMEDY)
    kinds = [column for column in rows[0] if column not in ("image", "label")]
    for number, row in enumerate(rows, start=2):
        wrong = [name for name in ("label", *kinds) if not row[name].removeprefix("-").isdecimal()]
        if wrong:
            raise DamagedFileError(
                f"{folder / 'predictions.csv'}, row {number}, column {wrong[0]}: expected the number of a class, "
                f"got {row[wrong[0]]!r}; {_REMEDY}."
            )
    return {kind: np.array([row[kind] == row["label"] for row in rows]) for kind in kinds}


def complete_seeds(plan: Plan, checkpoint: str | None = None) -> list[int]:
    """Return the seeds that all arms have been tested from (at the plan's first checkpoint if none is named)."""
    name = checkpoint or plan.checkpoints[0]
    return [seed for seed in plan.seeds if all(tested(plan, arm, seed, name) for arm in plan.arms)]


def collect(plan: Plan, checkpoint: str) -> tuple[list[int], dict[str, Outcomes]]:
    """Return the seeds that all arms have been tested from, and kind to arm to bool ``[S, N]``."""
    seeds = complete_seeds(plan, checkpoint)
    outcomes: dict[str, Outcomes] = {}
    for arm in plan.arms:
        runs = [hits(plan.test_folder(arm, seed, checkpoint)) for seed in seeds]
        for kind in runs[0] if runs else ():
            outcomes.setdefault(kind, {})[arm] = np.stack([outcome[kind] for outcome in runs])
    return seeds, outcomes


def rows_of(plan: Plan) -> list[Row]:
    """Return the table: one row per checkpoint, image kind and arm.

    Columns: ``checkpoint, images, arm, seeds, n, top1, top1_low, top1_high, difference, difference_low,
    difference_high`` (to the reference arm, paired by seed and image) and ``of``, the seeds that the plan asks for.
    """
    rows: list[Row] = []
    reference = plan.the_reference
    for checkpoint in plan.checkpoints:
        seeds, outcomes = collect(plan, checkpoint)
        for kind, arms in outcomes.items():
            means, differences = paired_bootstrap(arms), paired_bootstrap(arms, reference)
            for arm in arms:
                row: Row = {"checkpoint": checkpoint, "images": kind, "arm": arm, "seeds": len(seeds)}
                row |= {"of": len(plan.seeds), "n": arms[arm].shape[1]}
                row |= dict(zip(("top1", "top1_low", "top1_high"), means[arm], strict=True))
                if arm != reference:
                    names = ("difference", "difference_low", "difference_high")
                    row |= dict(zip(names, differences[arm], strict=True))
                rows.append(row)
    return rows


def autoattack_rows(plan: Plan) -> list[Row]:
    """Return the same table for AutoAttack, whose arms, seeds and images are fewer."""
    masking = plan.masking
    if masking is None or not masking.autoattack:
        return []
    arms = {arm: plan.arms[arm] for arm in masking.autoattack}
    reference = plan.the_reference if plan.the_reference in arms else None
    return rows_of(
        replace(plan, arms=arms, reference=reference, seeds=masking.autoattack_seeds, checkpoints=["autoattack"])
    )


def matched_of(plan: Plan) -> list[Row]:
    """Return the comparison at matched clean accuracy, over all complete seeds and both checkpoints."""
    collected = [
        (seeds, outcomes) for seeds, outcomes in (collect(plan, name) for name in plan.checkpoints) if outcomes
    ]
    return matched_rows(distinct_runs(collected), plan.the_reference) if collected else []


def checks_of(plan: Plan) -> list[Row]:
    """Return the checks for masked gradients that are complete, a row per arm and seed."""
    rows: list[Row] = []
    if plan.masking is None:
        return rows
    for arm in plan.arms:
        for seed in plan.masking.seeds:
            if tested(plan, arm, seed, "masking"):
                rows.append(masking_row(plan.masking, arm, seed, _accuracy(plan.test_folder(arm, seed, "masking"))))
    return rows


def measures_of(plan: Plan) -> list[Row]:
    """Return the comparison of what was measured, over the seeds from which all of its arms are complete."""
    rows: list[Row] = []
    if plan.measures is None:
        return rows
    arms = plan.measures.arms
    reference = plan.the_reference if plan.the_reference in arms else None
    for name in plan.measures.evaluations:
        seeds = [seed for seed in plan.seeds if all(tested(plan, arm, seed, name) for arm in arms)]
        runs = {arm: [read_scalars(plan.test_folder(arm, seed, name)) for seed in seeds] for arm in arms}
        rows += compare(name, runs, reference) if seeds else []
    return rows


def _accuracy(folder: Path) -> list[Row]:
    path = folder / "accuracy.csv"
    rows: list[Row] = []
    for number, row in enumerate(read_rows(path, ("images", "n", "top1"), _REMEDY), start=2):
        try:
            count, top1 = int(row["n"]), float(row["top1"])
        except ValueError:
            count, top1 = 0, math.nan
        if count < 1 or not 0 <= top1 <= 1:
            raise DamagedFileError(
                f"{path}, row {number}: expected a number of images n and a share top1 from 0 to 1, "
                f"got {row['n']!r} and {row['top1']!r}; {_REMEDY}."
            )
        rows.append(row | {"n": count, "top1": top1})
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown tables: arms down, image kinds across, one table per checkpoint."""
    parts = []
    for checkpoint in dict.fromkeys(row["checkpoint"] for row in rows):
        rows_of_checkpoint = [row for row in rows if row["checkpoint"] == checkpoint]
        kinds = list(dict.fromkeys(row["images"] for row in rows_of_checkpoint))
        first = rows_of_checkpoint[0]
        title = "AutoAttack, last epoch" if checkpoint == "autoattack" else f"{checkpoint} epoch"
        parts.append(f"{title}, {first['seeds']} of {first['of']} seeds, n = {first['n']} images each\n")
        parts.append("| arm | " + " | ".join(map(markdown_cell, kinds)) + " |\n" + "| --- " * (len(kinds) + 1) + "|")
        for arm in dict.fromkeys(row["arm"] for row in rows_of_checkpoint):
            cells = [
                _cell(row) for kind in kinds for row in rows_of_checkpoint if (row["arm"], row["images"]) == (arm, kind)
            ]
            parts.append(f"| {markdown_cell(arm)} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def _cell(row: Row) -> str:
    text = f"{100 * row['top1']:.1f} [{100 * row['top1_low']:.1f}, {100 * row['top1_high']:.1f}]"
    if "difference" in row:
        low, high = 100 * row["difference_low"], 100 * row["difference_high"]
        text += f" ({100 * row['difference']:+.1f} [{low:+.1f}, {high:+.1f}])"
    return text


def frontier(rows: Sequence[Row], attack: str, title: str = "") -> Figure:
    """Draw accuracy on real images against accuracy under one attack, a point with its intervals for every arm."""
    points = _points(rows, attack)
    figure = Figure(figsize=(7.4, 4.4), layout="constrained")
    axes = figure.subplots()
    drawn_as = styles(points)
    for arm, (real, attacked) in points.items():
        x, y = 100 * real["top1"], 100 * attacked["top1"]
        spread_x = [[x - 100 * real["top1_low"]], [100 * real["top1_high"] - x]]
        spread_y = [[y - 100 * attacked["top1_low"]], [100 * attacked["top1_high"] - y]]
        spread = {"xerr": np.clip(spread_x, 0, None), "yerr": np.clip(spread_y, 0, None)}
        axes.errorbar(x, y, **spread, fmt=drawn_as[arm].marker, color=drawn_as[arm].colour, capsize=2, label=arm)
    axes.set(xlabel="accuracy on real images (%)", ylabel=f"accuracy under {attack} (%)", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)  # names at the points would cover each other
    return figure


def _points(rows: Sequence[Row], attack: str) -> Mapping[str, tuple[Row, Row]]:
    checkpoint = rows[0]["checkpoint"]
    by = {(row["arm"], row["images"]): row for row in rows if row["checkpoint"] == checkpoint}
    arms = dict.fromkeys(row["arm"] for row in rows)
    return {arm: (by[arm, REAL], by[arm, attack]) for arm in arms if (arm, attack) in by}
