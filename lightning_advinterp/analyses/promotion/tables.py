"""The tables of promotion, and what is logged of them."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lightning_advinterp.analyses.promotion.columns import PROMOTION
from lightning_advinterp.analyses.promotion.config import PromotionConfig
from lightning_advinterp.analyses.promotion.correlation import QUANTITIES
from lightning_advinterp.analyses.promotion.maps import PAIRS
from lightning_advinterp.analyses.promotion.shares import agreement_rows, conclusions, share_rows, shares_of, sweep
from lightning_advinterp.analyses.promotion.state import KindCells, Measured
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.bootstrap import image_weights, pooled_ratio
from lightning_advinterp.metrics.interpretability import PERCENTILES, chance
from lightning_advinterp.metrics.promotion import (
    EFFECTS,
    LOGITS,
    TYPES,
    cell_types,
    counter_productive,
    log_ratio,
)

SETTINGS, SWEEP = "settings", "sweep"
"""Scopes of conclusions: all forms at the ξ and the threshold that were set, or at all of the sweep."""
LOGGED_PERCENTILE = 70
_ONE = torch.ones(1, dtype=torch.float64)
TOP = (0.05, 0.1, 0.2)
"""Shares of the most sensitive cells that screening is to find."""


def tables_of(
    config: PromotionConfig,
    radii: Mapping[str, float | None],
    cells: Mapping[str, KindCells | None],
    measured: Measured,
    names: tuple[str, ...],
) -> dict[str, list[Row]]:
    """Return all tables.

    Args:
        config: ξ, threshold and seed.
        radii: ε of every attack.
        cells: of every attack; None where it failed on all images.
        measured: what else was measured of every image.
        names: of the maps.
    """
    tables: dict[str, list[Row]] = {table.name: [] for table in PROMOTION}
    for kind, eps in radii.items():
        head: Row = {"images": kind, "eps": eps}
        tables["promotion_is"] += is_rows(head, measured.scores[kind], names, measured.failed[kind])
        attacked = cells[kind]
        if attacked is None:
            continue
        weights = image_weights(len(attacked.numbers), seed=config.seed)
        main, swept = shares_of(attacked, config.xi, config.threshold, weights), sweep(attacked, weights)
        tables["promotion"] += cell_rows(head, attacked, config.xi, config.threshold)
        if (config.xi, config.threshold) not in [(counts.xi, counts.threshold) for counts in swept]:
            tables["promotion_summary"] += share_rows(head, [main])
        tables["promotion_summary"] += share_rows(head, swept)
        tables["promotion_agreement"] += agreement_rows(head, main, attacked.active, weights)
        tables["promotion_conclusions"] += conclusions(head, [main], SETTINGS)
        tables["promotion_conclusions"] += conclusions(head, swept, SWEEP)
        tables["promotion_completeness"] += completeness_rows(head, attacked)
        tables["promotion_completeness_summary"] += completeness_summary(head, attacked, weights)
        scores = torch.stack([measured.scores[kind][number] for number in attacked.numbers])
        tables["promotion_is_summary"] += is_summary(head, scores, names, weights)
        correlations = torch.stack([measured.correlations[kind][number] for number in attacked.numbers])
        tables["promotion_correlation"] += correlation_rows(head, correlations, names, weights)
        if measured.screened[kind]:
            screened = torch.stack([measured.screened[kind][number] for number in attacked.numbers])
            tables["promotion_screening"] += screening_rows(head, attacked, screened, weights)
    return tables


def cell_rows(head: Row, cells: KindCells, xi: float, threshold: float) -> Iterator[Row]:
    """Yield a row per image, form and cell."""
    active = cells.active[:, None, None]
    types = cell_types(*cells.effects, active, xi, threshold).tolist()
    counter = counter_productive(*cells.effects, active, xi).tolist()
    ratio = log_ratio(*cells.effects, xi).masked_fill(~active, torch.nan).tolist()
    promotion, suppression = (values.tolist() for values in cells.effects)
    norms = cells.norms.tolist()
    for image, number in enumerate(cells.numbers):
        for a, effect in enumerate(EFFECTS):
            for b, logits in enumerate(LOGITS):
                for cell, norm in enumerate(norms[image]):
                    gain, loss = promotion[image][a][b][cell], suppression[image][a][b][cell]
                    row: Row = {"image": number, "images": head["images"], "eps": head["eps"]}
                    row |= {"effect": effect, "logits": logits, "cell": cell, "promotion": gain, "suppression": loss}
                    row |= {"ratio": ratio[image][a][b][cell], "type": TYPES[types[image][a][b][cell]]}
                    row |= {"counter": counter[image][a][b][cell], "delta_l2": norm, "sensitivity": gain + loss}
                    yield row


def completeness_rows(head: Row, cells: KindCells) -> Iterator[Row]:
    """Yield what all cells' effects sum to, beside the effect of the whole perturbation, per image and form."""
    sums = [values.sum(-1).tolist() for values in cells.effects]
    whole_effects = [values.tolist() for values in cells.whole_effects]
    for image, number in enumerate(cells.numbers):
        target, true = cells.classes[image]
        for a, effect in enumerate(EFFECTS):
            for b, logits in enumerate(LOGITS):
                row: Row = {"image": number, "images": head["images"], "eps": head["eps"]}
                row |= {"effect": effect, "logits": logits, "target": target, "true": true}
                for place, name in enumerate(("promotion", "suppression")):
                    row |= {name: sums[place][image][a][b], f"{name}_whole": whole_effects[place][image][b]}
                yield row


def completeness_summary(head: Row, cells: KindCells, weights: Tensor) -> Iterator[Row]:
    """Yield Σ over cells / whole effect, both summed over images, with intervals over images; 1 is complete."""
    ratios = {
        name: pooled_ratio(values.sum(-1), whole_effect[:, None], weights)
        for name, values, whole_effect in zip(
            ("promotion", "suppression"), cells.effects, cells.whole_effects, strict=True
        )
    }
    for a, effect in enumerate(EFFECTS):
        for b, logits in enumerate(LOGITS):
            row: Row = {"images": head["images"], "eps": head["eps"], "effect": effect, "logits": logits}
            for name, (ratio, low, high, _) in ratios.items():
                row |= {name: ratio[a, b].item(), f"{name}_low": low[a, b].item(), f"{name}_high": high[a, b].item()}
            yield row | {"n": len(cells.numbers)}


def is_rows(head: Row, scores: Mapping[int, Tensor], names: tuple[str, ...], failed: set[int]) -> Iterator[Row]:
    """Yield a row per image, map, pair and percentile."""
    for number in sorted(scores):
        values = scores[number].tolist()
        for a, name in enumerate(names):
            for b, (of, which) in enumerate(PAIRS):
                for c, percentile in enumerate(PERCENTILES):
                    score, rolled, other_score = values[a][b][c]
                    row: Row = {"image": number, "images": head["images"], "map": name, "of": of, "class": which}
                    row |= {"percentile": percentile, "score": score, "chance": chance(percentile), "rolled": rolled}
                    yield row | {"other": other_score, "reached": number not in failed, "eps": head["eps"]}


def is_summary(head: Row, scores: Tensor, names: tuple[str, ...], weights: Tensor) -> Iterator[Row]:
    """Yield means over images with intervals, alone and beside each control."""
    by_chance = torch.tensor([chance(percentile) for percentile in PERCENTILES], dtype=torch.float64)
    score, rolled, other_score = scores.unbind(-1)
    differences = {"chance": score - by_chance, "rolled": score - rolled, "other": score - other_score}
    columns = {"score": score, "rolled": rolled, "other": other_score} | {
        f"minus_{k}": v for k, v in differences.items()
    }
    means = {name: pooled_ratio(values, _ONE, weights) for name, values in columns.items()}
    counted = (~score.isnan()).sum(0)
    for a, name in enumerate(names):
        for b, (of, which) in enumerate(PAIRS):
            for c, percentile in enumerate(PERCENTILES):
                at = (a, b, c)
                row: Row = {"images": head["images"], "eps": head["eps"], "map": name, "of": of, "class": which}
                row |= {"percentile": percentile} | _interval("score", means["score"], at)
                row |= {"chance": chance(percentile)} | {key: means[key][0][at].item() for key in ("rolled", "other")}
                for control in differences:
                    row |= _interval(f"minus_{control}", means[f"minus_{control}"], at)
                yield row | {"n": int(counted[at]), "missing": len(scores) - int(counted[at])}


def _interval(name: str, estimate: tuple[Tensor, Tensor, Tensor, Tensor], at: tuple[int, ...]) -> Row:
    value, low, high, _ = estimate
    return {name: value[at].item(), f"{name}_low": low[at].item(), f"{name}_high": high[at].item()}


def correlation_rows(head: Row, correlations: Tensor, names: tuple[str, ...], weights: Tensor) -> Iterator[Row]:
    """Yield mean correlations over cells with the maps, beside those with the rolled maps."""
    correlation, rolled = correlations.unbind(-1)  # [N, 3, 3, 3, M]
    means = {
        "correlation": pooled_ratio(correlation, _ONE, weights),
        "rolled": pooled_ratio(rolled, _ONE, weights),
        "minus_rolled": pooled_ratio(correlation - rolled, _ONE, weights),
    }
    counted = (~correlation.isnan()).sum(0)
    maps = [(name, of, which) for name in names for of, which in PAIRS]
    for a, effect in enumerate(EFFECTS):
        for b, logits in enumerate(LOGITS):
            for c, quantity in enumerate(QUANTITIES):
                for d, (name, of, which) in enumerate(maps):
                    at = (a, b, c, d)
                    row: Row = {"images": head["images"], "eps": head["eps"], "effect": effect, "logits": logits}
                    row |= {"quantity": quantity, "map": name, "of": of, "class": which}
                    row |= _interval("correlation", means["correlation"], at)
                    row |= {"rolled": means["rolled"][0][at].item()} | _interval(
                        "minus_rolled", means["minus_rolled"], at
                    )
                    yield row | {"n": int(counted[at])}


def screening_rows(head: Row, cells: KindCells, screened: Tensor, weights: Tensor) -> Iterator[Row]:
    """Yield which share of the most sensitive cells, by |s_i|, is among as many that gradients find."""
    exact = (cells.effects.promotion + cells.effects.suppression)[:, :, 0].abs()  # the margin: alike in all forms
    count = exact.shape[2]
    for share in TOP:
        k = max(1, round(share * count))
        chosen = [values.argsort(dim=2, descending=True, stable=True)[..., :k] for values in (exact, screened.abs())]
        masks = [torch.zeros_like(exact, dtype=torch.bool).scatter_(2, places, True) for places in chosen]
        recall = (masks[0] & masks[1]).sum(2).double() / k
        mean = pooled_ratio(recall, _ONE, weights)
        for a, effect in enumerate(EFFECTS):
            row: Row = {"images": head["images"], "eps": head["eps"], "effect": effect, "top": share, "cells": k}
            yield row | _interval("recall", mean, (a,)) | {"chance": k / count, "n": len(exact)}


def scalars_of(
    tables: Mapping[str, list[Row]], failed: Mapping[str, set[int]], xi: float, threshold: float
) -> dict[str, float]:
    """Return what is logged: shares of types over all forms, their agreement, and the scores beyond chance."""
    scalars: dict[str, float] = {f"promotion/{kind}/failed": float(len(numbers)) for kind, numbers in failed.items()}
    by_type: dict[tuple[str, str], list[float]] = {}
    for row in tables["promotion_summary"]:
        if (row["xi"], row["threshold"]) == (xi, threshold):
            by_type.setdefault((row["images"], row["type"]), []).append(row["share"])
    for (kind, name), shares in by_type.items():
        # No form's share is the share: the mean over all of them stands between the lowest and the highest.
        scalars[f"promotion/{kind}/{name}"] = sum(shares) / len(shares)
        scalars[f"promotion/{kind}/{name}_lowest"] = min(shares)
        scalars[f"promotion/{kind}/{name}_highest"] = max(shares)
    for name in dict.fromkeys(name for _, name in by_type):
        means = [scalars[f"promotion/{kind}/{name}"] for kind, listed in by_type if listed == name]
        scalars[f"promotion/{name}"] = sum(means) / len(means)  # over the attacks
    for row in tables["promotion_agreement"]:
        if row["effect"] == "all":
            scalars[f"promotion/{row['images']}/agreement"] = row["agreement"]
    for row in tables["promotion_is_summary"]:
        if row["percentile"] == LOGGED_PERCENTILE:
            key = f"promotion/{row['images']}/is_{row['map']}_{row['of']}_{row['class']}"
            scalars[f"{key}_minus_chance"] = row["minus_chance"]
            scalars[f"{key}_minus_rolled"] = row["minus_rolled"]
    return scalars
