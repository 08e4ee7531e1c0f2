"""Whether the cells that promote or suppress most lie where the classes' maps are large."""

import torch
from torch import Tensor

from lightning_advinterp.metrics.cells import Grid
from lightning_advinterp.metrics.heatmaps import average_ranks
from lightning_advinterp.metrics.interpretability import shifts
from lightning_advinterp.metrics.promotion import Effects, log_ratio

QUANTITIES = ("ratio", "promotion", "suppression")
"""What is correlated with maps: r_i, T_i, S_i."""


def cell_correlations(effects: Effects, active: Tensor, maps: Tensor, grid: Grid, xi: float) -> Tensor:
    """Return Spearman's ρ over the cells of one image, float64 ``[3, 3, 3, M, 2]``, NaN where either is constant.

    Args:
        effects: of one image, ``[3, 3, m]`` each.
        active: bool ``[m]``; other cells do not count.
        maps: ``[M, H, W]``; a cell's value is the mean over its pixels.
        grid: the cells.
        xi: ξ of r_i.

    Returns:
        By effect, logits, :data:`QUANTITIES` and map: with the map, and the mean with the rolled maps.
    """
    quantities = torch.stack([log_ratio(*effects, xi), *effects], dim=2)[..., active]
    if not quantities.shape[-1]:
        return quantities.new_full((*quantities.shape[:3], len(maps), 2), torch.nan)
    turned = [maps, *(torch.roll(maps, by, (1, 2)) for by in shifts(*maps.shape[1:]))]
    values = grid.means(torch.cat(turned))[:, active]
    correlations = (_standardised(quantities.flatten(0, 2)) @ _standardised(values).T).view(
        *quantities.shape[:3], -1, len(maps)
    )
    rolled = (
        correlations[..., 1:, :].nanmean(-2) if len(turned) > 1 else torch.full_like(correlations[..., 0, :], torch.nan)
    )
    return torch.stack([correlations[..., 0, :], rolled], dim=-1)


def _standardised(values: Tensor) -> Tensor:
    """Return ranks of mean 0 and length 1, ``[n, m]``; NaN for a constant row."""
    ranks = average_ranks(values)
    ranks = ranks - ranks.mean(1, keepdim=True)
    standardised: Tensor = ranks / ranks.norm(dim=1, keepdim=True)
    return standardised
