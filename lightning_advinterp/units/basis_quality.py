"""How well a basis stands for a layer's activations, and how sparse it is."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_advinterp.units.bases import Basis


@dataclass(frozen=True)
class BasisQuality:
    """What a basis makes of rows.

    Attributes:
        explained: share of the variance, ``1 − Σ‖x − x̂‖² / Σ‖x − mean‖²``; below zero where the mean alone is nearer.
        active: mean number of latents that are not zero at a place (L0).
        dead: latents that are zero at all places.
        rows: places.
    """

    explained: float
    active: float
    dead: int
    rows: int


def basis_quality(basis: Basis, chunks: Iterable[Tensor]) -> BasisQuality:
    """Measure a basis; sums are in float64.

    Args:
        basis: on the rows' device.
        chunks: rows ``[N, U]`` each.

    Raises:
        ValueError: if there are none.
    """
    count, active, error, squares = 0, 0, 0.0, 0.0
    total = torch.zeros(basis.units, dtype=torch.float64)
    fired = torch.zeros(basis.latents, dtype=torch.bool)
    for rows in chunks:
        codes = basis.encode(rows)
        error += float((rows - basis.reconstruct(rows, codes)).double().square().sum())
        total += rows.double().sum(0).cpu()
        squares += float(rows.double().square().sum())
        nonzero = codes != 0
        active += int(nonzero.sum())
        fired |= nonzero.any(0).cpu()
        count += len(rows)
    if not count:
        raise ValueError("data: there are no images to measure the basis on.")
    variance = squares - float(total.square().sum()) / count
    explained = 1 - error / variance if variance > 0 else float("nan")
    return BasisQuality(explained, active / count, int((~fired).sum()), count)
