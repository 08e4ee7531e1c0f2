"""Semantic support: whether the units that make a prediction mean what it says (the idea is Dong et al. 2017's).

The paper says that representations tell adversarial images apart, and prints no formula. This one is this project's
reading: of the m units that speak most for the prediction, how near are the classes of their strongest images to it?
"""

import torch
from torch import Tensor


def strongest_weights(differences: Tensor, count: int = 10) -> Tensor:
    """Return the weights of the units that speak most for a class: positive prediction differences, summing to 1.

    Args:
        differences: ``[B, U]``, every unit's prediction difference; NaN for a unit that is left out.
        count: m, so many units get a weight; of equal ones the first.

    Returns:
        ``[B, U]``, differentiable in the differences of those units; NaN where no unit speaks for the class.
    """
    positive = differences.nan_to_num(nan=0.0).clamp(min=0)
    # a stable sort: of equal units the first, on every device
    places = positive.detach().sort(dim=1, descending=True, stable=True).indices[:, :count]
    weights = torch.zeros_like(positive).scatter(1, places, positive.gather(1, places))
    return weights / weights.sum(dim=1, keepdim=True)


def support_of(weights: Tensor, near: Tensor, predicted: Tensor) -> Tensor:
    """Return how near the meaning of weighted units is to a class, ``Σ wᵢ (pᵢᵀC)_ŷ``.

    Args:
        weights: ``[B, U]``, as from :func:`strongest_weights` or a smooth relaxation of it; units without a meaning
            must weigh nothing.
        near: ``[U, K]``, ``pᵀC`` of every unit over real images, see
            :func:`~lightning_advinterp.metrics.semantics.nearness`; NaN for dead units.
        predicted: int64 ``[B]``, the class, as its place among the K; −1 for one outside.

    Returns:
        ``[B]`` in [0, 1]; NaN where a weight is, or the class is outside.
    """
    inside = predicted >= 0
    towards = near.nan_to_num(nan=0.0).to(weights)[:, predicted.clamp(min=0)].T
    return (weights * towards).sum(dim=1).masked_fill(~inside, torch.nan)


def semantic_support(differences: Tensor, near: Tensor, predicted: Tensor, count: int = 10) -> Tensor:
    """Return the semantic support of predictions: low where units of other classes make them.

    Units without a meaning (dead over the images that describe units) are left out before the strongest are chosen.

    Args:
        differences: ``[B, U]``, every unit's prediction difference for the predicted class.
        near: ``[U, K]``, see :func:`support_of`.
        predicted: int64 ``[B]``, likewise.
        count: m.

    Returns:
        ``[B]`` in [0, 1], higher is better supported; NaN where no unit with a meaning speaks for the prediction.

    Reference:
        This project: s(x) = Σ_{i ∈ top-m} w̃ᵢ (pᵢᵀC)_ŷ, w̃ the normalised positive prediction differences.

    >>> near = torch.tensor([[1.0, 0.1], [0.2, 1.0], [torch.nan, torch.nan]])
    >>> semantic_support(torch.tensor([[3.0, 1.0, 9.0]]), near, torch.tensor([0]))
    tensor([0.8000])
    """
    dead = near.isnan().any(dim=1)
    weights = strongest_weights(differences.masked_fill(dead, torch.nan), count)
    return support_of(weights, near, predicted)
