"""What the runs measured on their own validation images: the ground on which settings are chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.ablation.run import trained
from lightning_advinterp.core.names import markdown_cell
from lightning_advinterp.core.result import Row


def last_scalars(run: Path) -> dict[str, float]:
    """Return the last logged value of every ``val/`` scalar of a run, from its TensorBoard files."""
    events: Any = EventAccumulator(str(run))  # type: ignore[no-untyped-call]
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("val/")]
    return {tag: float(events.Scalars(tag)[-1].value) for tag in tags}


def validation_rows(plan: Plan) -> list[Row]:
    """Return a row per trained run: ``arm, seed`` and the last epoch's validation scalars."""
    rows: list[Row] = []
    for seed in plan.seeds:
        for arm in plan.arms:
            if trained(plan, arm, seed):
                rows.append({"arm": arm, "seed": seed} | last_scalars(plan.run_folder(arm, seed)))
    return rows


def validation_markdown(rows: Sequence[Row]) -> str:
    """Return the accuracies on validation images, the mean over seeds, as a Markdown table."""
    if not rows:
        return ""
    keys = [key for key in rows[0] if key.endswith("acc")]
    lines = ["last epoch on the validation images, mean over seeds\n"]
    lines.append("| arm | seeds | " + " | ".join(map(markdown_cell, keys)) + " |\n" + "| --- " * (len(keys) + 2) + "|")
    for arm in dict.fromkeys(row["arm"] for row in rows):
        rows_of_arm = [row for row in rows if row["arm"] == arm]
        cells = [f"{100 * sum(row[key] for row in rows_of_arm) / len(rows_of_arm):.1f}" for key in keys]
        lines.append(f"| {markdown_cell(arm)} | {len(rows_of_arm)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
