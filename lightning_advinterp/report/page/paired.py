"""Two evaluations, compared on what both have: the same images, or the same units of layers of the same names."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from lightning_advinterp.core.result import REAL
from lightning_advinterp.report.page.stored import StoredEvaluation, TextRow, number
from lightning_advinterp.report.table import radius


class Difference(NamedTuple):
    """A measure of two networks.

    Attributes:
        measure: in words.
        first: mean of the first network over the pairs.
        second: mean of the second one.
        difference: second less first.
        low: lower end of its paired 95 % interval; NaN for fewer than two pairs.
        high: its upper end.
        pairs: how many; 0 where the tables hold no single pair, so that there is no interval either.
        over: what they are: ``images`` or ``units``.
        table: whose numbers these are.
    """

    measure: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    pairs: int
    over: str
    table: str


def paired_shares(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two shares of the same items.

    Wald's interval with half an item more in each of the four cells, which is near its level in small samples too.

    Args:
        first: whether the first network has the property, by item.
        second: likewise, of the second.

    Reference:
        Agresti & Min, Simple Improved Confidence Intervals for Comparing Matched Proportions, 2005.

    >>> low, high = paired_shares([True] * 8 + [False] * 2, [True] * 4 + [False] * 6)
    >>> round(low, 3), round(high, 3)
    (-0.646, -0.021)
    """
    before, after = np.asarray(first, bool), np.asarray(second, bool)
    gained, lost = float((~before & after).sum()) + 0.5, float((before & ~after).sum()) + 0.5
    total = len(before) + 2
    middle = (gained - lost) / total
    error = math.sqrt(max(0.0, gained + lost - (gained - lost) ** 2 / total)) / total
    half = float(ndtri(0.975)) * error
    return max(-1.0, middle - half), min(1.0, middle + half)


def paired_means(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean difference of pairs, by Student's t; NaN for fewer than two pairs.

    >>> paired_means([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    (1.0, 1.0)
    """
    differences = np.asarray(second, float) - np.asarray(first, float)
    if len(differences) < 2:
        return math.nan, math.nan
    half = float(stdtrit(len(differences) - 1, 0.975)) * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    middle = float(differences.mean())
    return middle - half, middle + half


def differences(first: StoredEvaluation, second: StoredEvaluation) -> list[Difference]:
    """Return the differences of all measures that both evaluations have on the same images or units.

    Args:
        first: of the network that is compared with.
        second: of the other network.
    """
    rows = _accuracies(first, second) or _unpaired_accuracies(first, second)
    for table, keys, measures, over in _PAIRED:
        rows += _means(first, second, table, keys, measures, over)
    return rows


_PAIRED: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str], ...] = (
    ("fragility", ("method", "attack", "eps"), ("topk", "spearman", "center_shift"), "images"),
    ("curvature", (), ("lambda_max", "gradient_norm"), "images"),
    ("dissection", ("images",), ("iou",), "units"),
    ("semantics", ("images",), ("lc", "cs1", "cs2"), "units"),
    ("sensitivity", ("images",), ("sensitivity",), "units"),
)
"""Table, the columns that tell its groups, measures, and what its rows stand for."""

_TITLES = {
    "iou": "IoU",
    "lc": "LC",
    "cs1": "CS1",
    "cs2": "CS2",
    "topk": "top-k intersection",
    "spearman": "rank correlation",
    "center_shift": "shift of the centre (px)",
    "lambda_max": "largest eigenvalue of the Hessian",
    "gradient_norm": "norm of the gradient",
}
_OF_REAL_IMAGES = ("lc",)
"""Measures whose rows under an attack repeat those of the real images."""

_NOT_KINDS = ("image", "label", REAL)


def _accuracies(first: StoredEvaluation, second: StoredEvaluation) -> list[Difference]:
    tables = [evaluation.rows("predictions", "image", "label", REAL) for evaluation in (first, second)]
    by_image = [{row["image"]: row for row in table} for table in tables]
    common = [image for image, row in by_image[0].items() if _same_label(row, by_image[1].get(image))]
    if not common:
        return []
    kinds = [kind for kind in tables[0][0] if kind in tables[1][0] and kind not in _NOT_KINDS]
    rows = []
    for kind in (REAL, *kinds):
        shown = [image for image in common if all(rows_of[image].get(kind) for rows_of in by_image)]
        right = [[rows_of[image][kind] == rows_of[image]["label"] for image in shown] for rows_of in by_image]
        if shown:
            low, high = paired_shares(*right)
            before, after = (float(np.mean(values)) for values in right)
            name, count = f"top-1 accuracy, {kind}", len(shown)
            rows.append(Difference(name, before, after, after - before, low, high, count, "images", "predictions"))
    return rows


def _unpaired_accuracies(first: StoredEvaluation, second: StoredEvaluation) -> list[Difference]:
    """Return accuracies side by side: shares alone tell no interval of a difference on the same images."""
    tables = [evaluation.rows("accuracy", "images", "top1") for evaluation in (first, second)]
    shares = [{row["images"]: number(row, "top1") for row in table} for table in tables]
    rows = []
    for kind, before in shares[0].items():
        after = shares[1].get(kind)
        if before is not None and after is not None:
            name, gap = f"top-1 accuracy, {kind}", after - before
            rows.append(Difference(name, before, after, gap, math.nan, math.nan, 0, "images", "accuracy"))
    return rows


def _same_label(row: TextRow, counterpart: TextRow | None) -> bool:
    return counterpart is not None and row["label"] == counterpart["label"]


def _means(
    first: StoredEvaluation,
    second: StoredEvaluation,
    table: str,
    keys: tuple[str, ...],
    measures: tuple[str, ...],
    over: str,
) -> list[Difference]:
    items = ("image",) if over == "images" else ("layer", "unit")
    tables = [
        {tuple(row[key] for key in (*keys, *items)): row for row in each.rows(table, *keys, *items)}
        for each in (first, second)
    ]
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for key in tables[0]:
        if key in tables[1]:
            groups.setdefault(key[: len(keys)], []).append(key)
    rows = []
    for group, members in groups.items():
        for measure in measures:
            if measure in _OF_REAL_IMAGES and group != (REAL,):
                continue
            pairs = [tuple(number(rows_of[key], measure) for rows_of in tables) for key in members]
            complete = [(before, after) for before, after in pairs if before is not None and after is not None]
            if not complete:
                continue
            before, after = zip(*complete, strict=True)
            low, high = paired_means(before, after)
            means = float(np.mean(before)), float(np.mean(after))
            name, count = (
                ", ".join((f"mean {_TITLES.get(measure, measure)}", *_group_words(keys, group))),
                len(complete),
            )
            rows.append(Difference(name, means[0], means[1], means[1] - means[0], low, high, count, over, table))
    return rows


def _group_words(keys: tuple[str, ...], group: tuple[str, ...]) -> list[str]:
    """Return the values that tell a group as a reader names them: radii in 255ths, and none where there is none."""
    words = []
    for key, text in zip(keys, group, strict=True):
        if key == "eps":
            words += [f"ε={radius(float(text))}"] if text else []
        else:
            words.append(text)
    return words
