"""The summary of influence: medians per attack, and how alike two images of one class are."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lightning_advinterp.analyses.fragility.tables import spread, summarised
from lightning_advinterp.core.result import Row, is_missing
from lightning_advinterp.metrics.heatmaps import says_nothing, spearman
from lightning_advinterp.metrics.intervals import wilson_interval

MEASURES = ("spearman", "overlap", "delta_p", "delta_output", "linf", "l2")


def rank_of(values: Tensor, places: Tensor) -> Tensor:
    """Return how many training images are more influential than one of them, ``[T]``; NaN where all count alike.

    Args:
        values: influence, ``[T, N]``, the larger the more influential.
        places: int64 ``[T]``, of that one.
    """
    ranks = (values > values.gather(1, places[:, None])).sum(1).double()
    return ranks.masked_fill(says_nothing(values[:, None]), torch.nan)


def summary_of(rows: Sequence[Row], overlap: int = 0) -> Row:
    """Return one attack's medians with quantiles and intervals, and medians of the images that kept their class.

    Args:
        rows: all of the attack, at least one.
        overlap: so many training images count as the most influential ones.
    """
    kept_rows = [row for row in rows if row["label_kept"]]
    low, high = wilson_interval(len(kept_rows), len(rows))
    summary: Row = {"attack": rows[0]["attack"], "eps": rows[0]["eps"], "n": len(rows)}
    for name in MEASURES:
        summary |= summarised(name, (row[name] for row in rows))
        if name in ("spearman", "overlap"):
            summary[f"{name}_kept"] = spread(row[name] for row in kept_rows)[1]
    if "raised" in rows[0]:
        for name in ("raised_rank_before", "raised_rank"):
            summary |= summarised(name, (row[name] for row in rows))
        ranks = [row["raised_rank"] for row in rows if not is_missing(row["raised_rank"])]
        top = sum(rank < overlap for rank in ranks)
        names = ("raised_top", "raised_top_low", "raised_top_high")
        values = (top / len(ranks), *wilson_interval(top, len(ranks))) if ranks else (None, None, None)
        summary |= dict(zip(names, values, strict=True))
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
