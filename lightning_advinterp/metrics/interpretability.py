"""The interpretability score: how much of a perturbation lies where a map is large (Xu et al. 2019)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_advinterp.metrics.heatmaps import says_nothing

PERCENTILES = (30, 40, 50, 60, 70, 80, 90)
"""P; the paper's is not known."""


def chance(percentile: float) -> float:
    """√(1 − P/100), the score of a perturbation of equal magnitude everywhere.

    >>> round(chance(70), 3)
    0.548
    """
    return math.sqrt(1 - percentile / 100)


def largest(maps: Tensor, percentiles: Sequence[float], *, nonzero: bool = False) -> Tensor:
    """Return B, where a map exceeds its P-th percentile, bool ``[P, B, …]``.

    Args:
        maps: ``[B, …]``.
        percentiles: P, interpolated linearly.
        nonzero: of the values other than 0 alone, as the public code of the adversarial saliency map has it.
    """
    flat = maps.flatten(1).double()
    counted = flat.masked_fill(flat == 0, torch.nan) if nonzero else flat
    shares = torch.tensor(percentiles, dtype=flat.dtype, device=flat.device) / 100
    bounds = torch.stack([torch.nanquantile(row, shares) for row in counted], dim=1)
    # NaN, the bound of a map of zeros alone, is exceeded by nothing.
    return (flat > bounds[..., None]).view(len(shares), *maps.shape)


def interpretability_score(delta: Tensor, mask: Tensor) -> Tensor:
    """‖B∘δ‖₂ / ‖δ‖₂ in [0, 1], ``[B]`` float64; NaN where δ = 0 or B is empty.

    Args:
        delta: ``[B, C, H, W]``.
        mask: B, bool ``[B, C or 1, H, W]``.

    >>> delta = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 0.0]]]])
    >>> interpretability_score(delta, torch.tensor([[[[False, True]]], [[[False, True]]]])).tolist()
    [0.8, nan]
    """
    square = delta.double().square()
    share = (square * mask).flatten(1).sum(1) / square.flatten(1).sum(1)
    return share.sqrt().masked_fill(~mask.flatten(1).any(1), torch.nan)


def interpretability_scores(
    delta: Tensor, maps: Tensor, percentiles: Sequence[float] = PERCENTILES, *, nonzero: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the scores of maps, and those of the same maps rolled, ``[B, P]`` float64 each.

    A map is rolled by quarters of the image's sides, which makes :func:`shifts`; the mean over them is the second
    result. Both are NaN where δ = 0 or the map is constant.

    Args:
        delta: ``[B, C, H, W]``.
        maps: ``[B, C or 1, H, W]``.
        percentiles: P.
        nonzero: as for :func:`largest`.
    """
    silent = says_nothing(maps.flatten(2))
    scores, rolled = [], []
    for mask in largest(maps, percentiles, nonzero=nonzero) & ~silent[:, None, None, None]:
        scores.append(interpretability_score(delta, mask))
        turned = [interpretability_score(delta, torch.roll(mask, by, (2, 3))) for by in shifts(*maps.shape[2:])]
        rolled.append(torch.stack(turned).mean(0) if turned else torch.full_like(scores[-1], torch.nan))
    return torch.stack(scores, 1), torch.stack(rolled, 1)


def shifts(height: int, width: int) -> list[tuple[int, int]]:
    """Return how far controls roll a map: by every quarter of each side but not at all; 15 ways from 4 × 4 pixels on.

    >>> len(shifts(8, 8)), shifts(2, 1)
    (15, [(1, 0)])
    """
    down, right = (sorted({side * quarter // 4 for quarter in range(4)}) for side in (height, width))
    return [(y, x) for y in down for x in right if (y, x) != (0, 0)]
