"""Tables of fragility: per image, medians and quantiles, methods, and the course of the attacks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lightning_advinterp.analyses.fragility.config import Case
from lightning_advinterp.analyses.fragility.state import FragilityState
from lightning_advinterp.core.result import Row, is_missing
from lightning_advinterp.metrics.intervals import median_interval, wilson_interval

MEASURES = (
    *("topk", "spearman", "center_shift", "kendall", "center_shift_relative", "ssim", "pcc", "mse"),
    *("linf", "l2", "delta_p", "delta_output", "aim_before", "aim", "image_ssim", "image_pcc", "image_mse"),
)
"""Measures whose medians and quantiles are in the summary, besides those of the target map."""
ENOUGH_KEPT = 0.9
"""A network with softplus stands for the one with relu where it keeps at least this share of the classes."""
SHARES = ("label_kept", "success")
LOGGED = ("topk", "spearman", "center_shift")


def spread(values: Iterable[Any]) -> tuple[float | None, float | None, float | None]:
    """Return the 10 % quantile, the median and the 90 % quantile of what is no NaN; None of nothing."""
    numbers = [float(value) for value in values if not is_missing(value)]
    if not numbers:
        return None, None, None
    low, middle, high = np.quantile(numbers, (0.1, 0.5, 0.9)).tolist()
    return low, middle, high


def summarised(name: str, values: Iterable[Any]) -> Row:
    """Return the median of what is no NaN, 10 and 90 % quantiles ``_q…``, and its 95 % interval ``_low``, ``_high``."""
    numbers = [float(value) for value in values if not is_missing(value)]
    q10, middle, q90 = spread(numbers)
    low, high = (None if math.isnan(bound) else bound for bound in median_interval(numbers))
    return {name: middle, f"{name}_q10": q10, f"{name}_q90": q90, f"{name}_low": low, f"{name}_high": high}


def named(images: Sequence[object], most: int = 5) -> str:
    """Return the names of a few images in a line: ``image 3, 7, 9, …``."""
    return f"image {', '.join(map(str, images[:most]))}{', …' if len(images) > most else ''}"


def aligned(rows: Sequence[Row]) -> list[Row]:
    """Give all rows the same columns: some measures exist for some attacks alone."""
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in columns} for row in rows]


def ending_with(column: str, rows: Sequence[Row]) -> list[Row]:
    """Give all rows the same columns, one of them last."""
    return [{key: row[key] for key in row if key != column} | {column: row.get(column)} for row in aligned(rows)]


def largest(cases: Sequence[Case]) -> list[int]:
    """Return the numbers of the cases at every attack's largest radius on its method."""
    best: dict[tuple[str, str], float] = {}
    for case in cases:
        key = (case.method, case.attack.label_name)
        best[key] = max(case.eps, best.get(key, 0.0))
    return [n for n, case in enumerate(cases) if case.eps == best[case.method, case.attack.label_name]]


def tables_of(
    state: FragilityState, cases: Sequence[Case], refused: Mapping[str, str]
) -> tuple[dict[str, list[Row]], dict[str, float]]:
    """Return the tables and the scalars.

    Args:
        state: what was found.
        cases: what its numbers stand for.
        refused: methods that were left out, with the reason.
    """
    methods = list(dict.fromkeys(case.method for case in cases))
    rows = [
        {"image": image, **by_case[case]} for image, by_case in sorted(state.rows.items()) for case in sorted(by_case)
    ]
    by_method = {name: _method_row(state, name) for name in [*methods, *(["random"] if state.faithfulness else [])]}
    summary = [_summary_row(state, number, case, by_method[case.method]) for number, case in enumerate(cases)]
    methods_left_out = [{"method": name, "refused": why} for name, why in refused.items()]
    tables = {
        "fragility": ending_with("no_map", rows),
        "fragility_summary": ending_with("no_map", [row for row in summary if row["n"]]),
        "fragility_methods": ending_with("no_map", [*by_method.values(), *methods_left_out]),
        "fragility_convergence": [row for n, case in enumerate(cases) for row in _course(state, n, case)],
    }
    return tables, _scalars(state, cases, summary, by_method)


def _method_row(state: FragilityState, method: str) -> Row:
    """Faithfulness of a method, how similar its maps of two images are, and how often its softplus keeps the class."""
    row: Row = {"method": method, "n": len(state.rows)}
    for name in ("deletion", "insertion"):
        row |= summarised(
            name, (by_method[method][name] for by_method in state.faithfulness.values() if method in by_method)
        )
    for name in MEASURES[:8]:
        row[f"{name}_other"] = spread(
            by_method[method][name] for by_method in state.others.values() if method in by_method
        )[1]
    row["refused"] = None
    classes_kept = [by_method[method] for by_method in state.smooth_kept.values() if method in by_method]
    if classes_kept:
        row["smooth_kept"] = sum(classes_kept) / len(classes_kept)
        row["smooth_kept_low"], row["smooth_kept_high"] = wilson_interval(sum(classes_kept), len(classes_kept))
    if method != "random":
        row["no_map"] = sum(by_method.get(method, False) for by_method in state.no_map.values())
    return row


def _summary_row(state: FragilityState, number: int, case: Case, method: Row) -> Row:
    """Medians, quantiles and intervals of one case, beside the level of two different images."""
    image_rows = [by_case[number] for by_case in state.rows.values() if number in by_case]
    n = len(image_rows)
    row: Row = {"method": case.method, "attack": case.attack.label_name, "eps": case.eps, "n": n}
    for name in SHARES:
        count = sum(row_of_image[name] for row_of_image in image_rows)
        bounds = wilson_interval(count, n)
        row |= {name: count / n if n else math.nan, f"{name}_low": bounds[0], f"{name}_high": bounds[1]}
    targets = [name for name in (image_rows[0] if image_rows else {}) if name.startswith("target_")]
    for name in (*MEASURES, *targets):
        row |= summarised(name, (row_of_image.get(name) for row_of_image in image_rows))
        if f"{name}_other" in method:
            row[f"{name}_other"] = method[f"{name}_other"]
    row |= {"deletion": method["deletion"], "insertion": method["insertion"]}
    row |= {"skipped": len(state.skipped), "left": len(state.left)}
    return row | {"no_map": sum(row_of_image["no_map"] is not None for row_of_image in image_rows)}


def _course(state: FragilityState, number: int, case: Case) -> list[Row]:
    """The gain of the attack's objective over its start, step by step."""
    courses = [by_case[number] for by_case in state.courses.values() if number in by_case]
    if not courses:
        return []
    gains = torch.stack(courses).double()
    gains = gains - gains[:, :1]
    head: Row = {"method": case.method, "attack": case.attack.label_name, "eps": case.eps}
    rows = []
    for step, values in enumerate(gains.T.tolist()):
        low, middle, high = spread(values)
        rows.append(head | {"step": step, "gain": middle, "gain_q10": low, "gain_q90": high})
    return rows


def _scalars(
    state: FragilityState, cases: Sequence[Case], summary: Sequence[Row], methods: Mapping[str, Row]
) -> dict[str, float]:
    counts = {"images": len(state.rows), "skipped": len(state.skipped), "left": len(state.left)}
    scalars = {f"fragility/{name}": float(count) for name, count in counts.items()}
    for number in largest(cases):
        row = summary[number]
        for name in (*LOGGED, *SHARES):
            if row["n"] and row[name] is not None:
                scalars[f"fragility/{row['method']}/{row['attack']}/{name}"] = row[name]
        if row["n"]:
            scalars[f"fragility/{row['method']}/{row['attack']}/no_map"] = float(row["no_map"])
    for method, row in methods.items():
        for name in LOGGED:
            if row[f"{name}_other"] is not None:
                scalars[f"fragility/{method}/other_image/{name}"] = row[f"{name}_other"]
        for name in ("deletion", "insertion"):
            if row[name] is not None:
                scalars[f"fragility/{method}/faithfulness/{name}"] = row[name]
        if "smooth_kept" in row:
            scalars[f"fragility/{method}/softplus/smooth_kept"] = row["smooth_kept"]
    return scalars
