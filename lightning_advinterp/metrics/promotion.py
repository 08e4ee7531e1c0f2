"""Promotion of the target and suppression of the true class by parts of a perturbation: pure functions (SPEC of P1).

With x' = x0 + δ and δ_i the perturbation within cell i, *remove* takes δ_i from x', *add* puts it alone onto x0, and
*symmetric* is the mean of both. T_i says by how much δ_i promotes the target class t, S_i by how much it suppresses the
true class t0. Xu et al. 2019 state the three types; the forms, ξ, the thresholds and the edge cases are readings of
this project.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Effect = Literal["remove", "add", "symmetric"]
EFFECTS: tuple[Effect, ...] = ("remove", "add", "symmetric")
"""How a cell's effect is measured."""

Logits = Literal["raw", "centred", "log_probability"]
LOGITS: tuple[Logits, ...] = ("raw", "centred", "log_probability")
"""On what: a common shift of all logits changes effects on raw logits, but no probability."""

TYPES = ("suppression", "balanced", "promotion", "inert", "inactive")
"""Types of cells; their places here are their codes."""
SUPPRESSION, BALANCED, PROMOTION, INERT, INACTIVE = range(len(TYPES))

XI = 1e-3
"""ξ: effects up to it count as none."""
THRESHOLD = 1.0
"""Beyond this |r_i|, one effect dominates: it is more than twice the other."""
XIS = (1e-4, 1e-3, 1e-2, 1e-1)
"""ξ of the sweep."""
THRESHOLDS = (0.5, 1.0, 2.0)
"""Thresholds of the sweep."""


class Effects(NamedTuple):
    """What every cell does, float64 ``[B, 3, 3, m]`` each: by :data:`EFFECTS`, :data:`LOGITS` and cells.

    Attributes:
        promotion: T_i.
        suppression: S_i.
    """

    promotion: Tensor
    suppression: Tensor


class CellScores(NamedTuple):
    """The two classes' scores that effects are differences of, float64; the last axes are :data:`LOGITS` and (t, t0).

    Attributes:
        real: at x0, ``[B, 3, 2]``.
        adversarial: at x', likewise.
        removed: at x' − δ_i, ``[B, m, 3, 2]``.
        added: at x0 + δ_i, likewise.
        norms: ‖δ_i‖₂, ``[B, m]``.
    """

    real: Tensor
    adversarial: Tensor
    removed: Tensor
    added: Tensor
    norms: Tensor


def class_scores(logits: Tensor, target: Tensor, true: Tensor) -> Tensor:
    """Return the scores of target and true class in every form, ``[B, K], [B], [B] -> [B, 3, 2]`` float64.

    >>> class_scores(torch.tensor([[3.0, 0.0]]), torch.tensor([0]), torch.tensor([1]))[0, :2].tolist()
    [[3.0, 0.0], [1.5, -1.5]]
    """
    z = logits.double()
    forms = torch.stack([z, z - z.mean(1, keepdim=True), z.log_softmax(1)], dim=1)
    classes = torch.stack([target, true], dim=1)[:, None].expand(-1, len(LOGITS), -1)
    return forms.gather(2, classes)


def cell_effects(scores: CellScores) -> Effects:
    """Return T and S of every cell; see :class:`Effects`."""
    real, adversarial = scores.real[:, None], scores.adversarial[:, None]
    gains = torch.stack([adversarial - scores.removed, scores.added - real], dim=1)  # [B, 2, m, 3, 2]
    gains = torch.cat([gains, gains.mean(1, keepdim=True)], dim=1).transpose(2, 3)
    return Effects(gains[..., 0], 0 - gains[..., 1])  # no −0 where nothing changes


def whole_effect(scores: CellScores) -> Effects:
    """Return what all cells together do, ``[B, 3]`` each, by :data:`LOGITS`: T and S of the whole perturbation."""
    gain = scores.adversarial - scores.real
    return Effects(gain[..., 0], 0 - gain[..., 1])


def log_ratio(promotion: Tensor, suppression: Tensor, xi: float = XI) -> Tensor:
    """R = log2(max(T, ξ) / max(S, ξ)): above 0 the target's promotion is the stronger, below 0 the suppression.

    >>> log_ratio(torch.tensor([4.0, 1.0, -9.0]), torch.tensor([1.0, 4.0, 0.0])).tolist()
    [2.0, -2.0, 0.0]
    """
    return (promotion.clamp(min=xi) / suppression.clamp(min=xi)).log2()


def cell_types(
    promotion: Tensor, suppression: Tensor, active: Tensor, xi: float = XI, threshold: float = THRESHOLD
) -> Tensor:
    """Return every cell's type, int64, its code in :data:`TYPES`.

    A cell without perturbation is inactive, one with both effects at most ξ inert; of the others |r| > ``threshold``
    decides which effect dominates.

    Args:
        promotion: T, of any shape.
        suppression: S, likewise.
        active: bool, whether δ_i differs from 0; broadcast.
        xi: ξ.
        threshold: of |r|.

    >>> t, s = torch.tensor([4.0, 1.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, 4.0, 1.0, 0.0, 0.0])
    >>> [TYPES[code] for code in cell_types(t, s, torch.tensor([True, True, True, True, False]))]
    ['promotion', 'suppression', 'balanced', 'inert', 'inactive']
    """
    ratio = log_ratio(promotion, suppression, xi)
    types = torch.full_like(ratio, BALANCED, dtype=torch.int64)
    types[ratio < -threshold] = SUPPRESSION
    types[ratio > threshold] = PROMOTION
    types[(promotion <= xi) & (suppression <= xi)] = INERT
    return types.masked_fill(~active, INACTIVE)


def counter_productive(promotion: Tensor, suppression: Tensor, active: Tensor, xi: float = XI) -> Tensor:
    """Return whether a cell lowers the target or raises the true class by more than ξ, bool; flagged beside its type.

    >>> counter_productive(torch.tensor([4.0, 4.0]), torch.tensor([-1.0, 0.0]), torch.tensor([True, True])).tolist()
    [True, False]
    """
    return ((promotion < -xi) | (suppression < -xi)) & active
