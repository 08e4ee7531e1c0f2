"""How large the changes of several attacks are where all of them succeed: a comparison at equal success."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.noise import RandomSign
from lightning_advinterp.core.result import REAL, Row

VISIBLE = 0.5 / 255
"""A pixel counts as changed where a channel moves by so much, half a grey level: rounding to 8 bits shows no less."""

MEASURES = ("pixels", "l1", "l2", "linf")


def compared_attacks(attacks: Mapping[str, Attack]) -> list[str]:
    """Return the attacks whose changes are compared; none where there are fewer than two. The control is none."""
    kinds = [kind for kind, attack in attacks.items() if not isinstance(attack, RandomSign)]
    return kinds if len(kinds) > 1 else []


def add_changes(sums: dict[str, dict[str, float]], observation: Observation) -> int:
    """Add the changes of a batch to the sums by attack and measure; return on how many images all attacks succeed."""
    if not sums:
        return 0
    common = torch.stack([observation.success[kind] for kind in sums]).all(0)
    for kind, measures in sums.items():
        for measure, values in _sizes(observation.images[kind][common] - observation.images[REAL][common]).items():
            measures[measure] += float(values.sum())
    return int(common.sum())


def change_rows(sums: Mapping[str, Mapping[str, float]], count: int, attacks: Mapping[str, Attack]) -> list[Row]:
    """Return a row per attack: ``images, n``, the mean measures, ``eps``."""
    rows: list[Row] = []
    for kind, measures in sums.items():
        means: Row = {measure: total / count if count else None for measure, total in measures.items()}
        rows.append({"images": kind, "n": count} | means | {"eps": attacks[kind].eps})
    return rows


def _sizes(delta: Tensor) -> dict[str, Tensor]:
    """Return every measure of changes ``[B, C, H, W]``, float64 ``[B]`` each."""
    delta = delta.double()
    flat = delta.flatten(1).abs()
    changed = (delta.abs() >= VISIBLE).any(dim=1).double().mean(dim=(1, 2))
    largest = flat.amax(dim=1) if len(flat) else flat.sum(dim=1)
    return {"pixels": changed, "l1": flat.sum(dim=1), "l2": flat.norm(dim=1), "linf": largest}
