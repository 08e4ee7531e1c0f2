"""How many cells are of which type under every form, how far the forms agree, and what holds under all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from lightning_advinterp.analyses.promotion.state import KindCells
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.bootstrap import pooled_ratio
from lightning_advinterp.metrics.promotion import (
    BALANCED,
    EFFECTS,
    INACTIVE,
    LOGITS,
    PROMOTION,
    SUPPRESSION,
    THRESHOLDS,
    TYPES,
    XIS,
    cell_types,
    counter_productive,
)

COUNTER = "counter"
DOMINANT = (SUPPRESSION, BALANCED, PROMOTION)
"""The three types of the paper."""
FORMS = [(effect, logits) for effect in EFFECTS for logits in LOGITS]
"""Effects and logits together, in the order of the tables."""


@dataclass(frozen=True)
class Shares:
    """The shares of all types under every form, at one ξ and one threshold.

    Attributes:
        xi: ξ.
        threshold: of |r|.
        types: of every cell, int64 ``[N, 9, m]``.
        counter: whether it is counter-productive, bool ``[N, 9, m]``.
        share: ``[9, 6]``, by type and counter; of the active cells, for inactive ones of all.
        low: lower bound of the 95 % interval over images.
        high: upper bound.
        by_l2: likewise, cells weighing ‖δ_i‖₂.
        count: of how many cells, by type and counter, ``[6]``.
        counter_within: ``[9, 5]``, which share of a type's cells is counter-productive.
        replicates: of the three types' shares, by count and by ‖δ_i‖₂, ``[2, R, 9, 3]``.
    """

    xi: float
    threshold: float
    types: Tensor
    counter: Tensor
    share: Tensor
    low: Tensor
    high: Tensor
    by_l2: Tensor
    count: Tensor
    counter_within: Tensor
    replicates: Tensor


def shares_of(cells: KindCells, xi: float, threshold: float, weights: Tensor) -> Shares:
    """Count types at one ξ and threshold.

    Args:
        cells: of one attack.
        xi: ξ.
        threshold: of |r|.
        weights: of the images in every replicate.
    """
    promotion, suppression = (values.flatten(1, 2) for values in cells.effects)
    active = cells.active[:, None]
    types = cell_types(promotion, suppression, active, xi, threshold)
    counter = counter_productive(promotion, suppression, active, xi)
    kinds = torch.stack([*(types == code for code in range(len(TYPES))), counter], dim=3)  # [N, 9, m, 6]
    counted = kinds.double().sum(2)
    weighed = (kinds * cells.norms[:, None, :, None]).sum(2)
    total = cells.active.sum(1).double()[:, None, None].repeat(1, 1, len(TYPES) + 1)
    total[..., INACTIVE] = cells.norms.shape[1]
    share, low, high, replicates = pooled_ratio(counted, total, weights)
    by_l2, _, _, by_l2_replicates = pooled_ratio(weighed, cells.norms.sum(1)[:, None, None], weights)
    within = (kinds[..., : len(TYPES)] & counter[..., None]).double().sum((0, 2)) / counted[..., : len(TYPES)].sum(0)
    three = torch.stack([replicates, by_l2_replicates])[..., list(DOMINANT)]
    count = total.sum((0, 1))
    return Shares(xi, threshold, types, counter, share, low, high, by_l2, count, within, three)


def sweep(cells: KindCells, weights: Tensor) -> list[Shares]:
    """Return the shares at every ξ and threshold of the sweep."""
    return [shares_of(cells, xi, threshold, weights) for xi in XIS for threshold in THRESHOLDS]


def share_rows(head: Row, shares: Sequence[Shares]) -> Iterator[Row]:
    """Yield a row per form, ξ, threshold and type, ``counter`` last."""
    for counts in shares:
        for form, (effect, logits) in enumerate(FORMS):
            for code, name in enumerate((*TYPES, COUNTER)):
                row: Row = {"images": head["images"], "effect": effect, "logits": logits}
                row |= {"xi": counts.xi, "threshold": counts.threshold, "type": name}
                row |= {"share": counts.share[form, code].item(), "share_low": counts.low[form, code].item()}
                row |= {"share_high": counts.high[form, code].item(), "share_by_l2": counts.by_l2[form, code].item()}
                within = None if name == COUNTER else counts.counter_within[form, code].item()
                yield row | {"n": int(counts.count[code]), "counter_within": within, "eps": head["eps"]}


def agreement_rows(head: Row, shares: Shares, active: Tensor, weights: Tensor) -> Iterator[Row]:
    """Yield how often two forms give a cell the same type, and all of them, beside what equal shares give by chance."""
    total = active.sum(1).double()[:, None]
    head = head | {"xi": shares.xi, "threshold": shares.threshold}
    same: list[Tensor] = []
    pairs = list(combinations(range(len(FORMS)), 2))
    for first, second in pairs:
        same.append(((shares.types[:, first] == shares.types[:, second]) & active).sum(1).double())
    alike = ((shares.types == shares.types[:, :1]).all(1) & active).sum(1).double()
    value, low, high, _ = pooled_ratio(torch.stack([*same, alike], 1), total, weights)
    marginal = shares.share[:, :INACTIVE]
    for number, (first, second) in enumerate(pairs):
        row: Row = dict(
            zip(("effect", "logits", "other_effect", "other_logits"), (*FORMS[first], *FORMS[second]), strict=True)
        )
        yield _agreement(head, row, value, low, high, number, float((marginal[first] * marginal[second]).sum()), total)
    row = {name: "all" for name in ("effect", "logits", "other_effect", "other_logits")}
    yield _agreement(head, row, value, low, high, len(pairs), float(marginal.prod(0).sum()), total)


def _agreement(
    head: Row, forms: Row, value: Tensor, low: Tensor, high: Tensor, number: int, by_chance: float, total: Tensor
) -> Row:
    row: Row = head | forms
    row |= {"agreement": value[number].item(), "agreement_low": low[number].item()}
    return row | {"agreement_high": high[number].item(), "chance": by_chance, "n": int(total.sum())}


def conclusions(head: Row, shares: Sequence[Shares], scope: str) -> Iterator[Row]:
    """Yield which orders of the three types hold under all forms, by count and by ‖δ_i‖₂.

    A claim is the order that most forms show. ``surely`` counts the forms whose 95 % interval of the difference over
    images lies on its side, ``contrary`` those whose interval lies on the other.

    Args:
        head: with ``images`` and ``eps``.
        shares: at one or several ξ and thresholds.
        scope: what these are called.
    """
    points = torch.stack([torch.stack([counts.share, counts.by_l2])[..., list(DOMINANT)] for counts in shares]).flatten(
        0, 2
    )
    replicates = torch.cat([counts.replicates.transpose(1, 2).flatten(0, 1) for counts in shares])  # [forms, R, 3]
    for first, second in combinations(range(len(DOMINANT)), 2):
        difference = points[:, first] - points[:, second]
        if int((difference < 0).sum()) > int((difference > 0).sum()):
            first, second, difference = second, first, -difference
        spread = replicates[:, :, first] - replicates[:, :, second]
        low, high = torch.nanquantile(spread, torch.tensor([0.025, 0.975], dtype=spread.dtype), dim=1)
        if len(shares[0].types) < 2:  # one image has no interval over images
            low, high = low.fill_(torch.nan), high.fill_(torch.nan)
        forms, showing = len(difference), int((difference > 0).sum())
        row: Row = {"images": head["images"], "eps": head["eps"], "scope": scope}
        row |= {"claim": f"{TYPES[DOMINANT[first]]} > {TYPES[DOMINANT[second]]}", "forms": forms, "showing": showing}
        row |= {"surely": int((low > 0).sum()), "contrary": int((high < 0).sum()), "holds": showing == forms}
        yield row
