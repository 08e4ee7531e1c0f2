"""The summary of influence: medians per attack, and how alike two images of one class are."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lightning_advinterp.analyses.fragility.tables import spread, summarised
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.heatmaps import spearman
from lightning_advinterp.metrics.intervals import wilson_interval

MEASURES = ("spearman", "overlap", "delta_p", "delta_output", "linf", "l2")


def summary_of(rows: Sequence[Row]) -> Row:
    """Return one attack's medians with quantiles and intervals, and medians of the images that kept their class.

    Args:
        rows: all of the attack, at least one.
    """
    kept_rows = [row for row in rows if row["label_kept"]]
    low, high = wilson_interval(len(kept_rows), len(rows))
    summary: Row = {"attack": rows[0]["attack"], "eps": rows[0]["eps"], "n": len(rows)}
    for name in MEASURES:
        summary |= summarised(name, (row[name] for row in rows))
        if name in ("spearman", "overlap"):
            summary[f"{name}_kept"] = spread(row[name] for row in kept_rows)[1]
    summary |= {"label_kept": len(kept_rows) / len(rows), "label_kept_low": low, "label_kept_high": high}
    return summary | {"no_influence": sum(row["no_influence"] is not None for row in rows)}


def reference_level(vectors: Iterable[tuple[int, Tensor]]) -> float | None:
    """Return the median Spearman of the influence on an image and on the next one of its class.

    Args:
        vectors: class, and influence of all training images ``[N]``, in the images' order.
    """
    by_class: dict[int, list[Tensor]] = {}
    for place, vector in vectors:
        by_class.setdefault(place, []).append(vector)
    values: list[float] = []
    for numbers in by_class.values():
        if len(numbers) > 1:
            stacked = torch.stack(numbers)[:, None]
            values += spearman(stacked, stacked.roll(1, 0)).tolist()
    return spread(values)[1]
