"""The shortest move onto a hyperplane that stays in the box [0, 1] (Croce & Hein 2020, FAB, Section 3.1)."""

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.threat import Norm


def project_onto_hyperplane(x: Tensor, normal: Tensor, offset: Tensor, norm: Norm) -> Tensor:
    """Return δ of least norm with ⟨w, x + δ⟩ = b and x + δ in [0, 1]; the nearest corner where none exists.

    Coordinate i can go m_i = 1 − x_i up or x_i down, whichever brings ⟨w, x⟩ closer to b, and goes min(t·s_i, m_i)
    with s_i = 1 (L∞) or s_i = |w_i| (L2): the solution of the norm's optimality conditions. What is gained,
    Σ |w_i| min(t·s_i, m_i), is piecewise linear and rising in t, with a bend at every t = m_i / s_i; sorted
    bends and running sums give the t at which it equals |b − ⟨w, x⟩|.

    Args:
        x: ``[B, D]`` in [0, 1].
        normal: w, ``[B, D]``.
        offset: b, ``[B]``.
        norm: ``linf`` or ``l2``.

    Returns:
        δ, ``[B, D]``.
    """
    scale = normal.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(normal.dtype).tiny)
    normal = normal / scale  # the plane stays the same, and squares of small gradients do not vanish
    missing = offset / scale.squeeze(1) - (normal * x).sum(dim=1)
    direction = torch.where((missing >= 0)[:, None], normal, -normal).sign()
    weight = normal.abs()
    room = torch.where(weight > 1e-12, torch.where(direction > 0, 1 - x, x), 0)  # no influence: stays where it is
    slope = torch.ones_like(weight) if norm == "linf" else weight.clamp(min=1e-12)
    bend, order = (room / slope).sort(dim=1)
    full, rate = (weight * room).gather(1, order), (weight * slope).gather(1, order)
    # Up to bend k the coordinates before k have gone all their way, and k and those after it are moving.
    stopped = full.cumsum(dim=1) - full
    moving = rate.flip(1).cumsum(dim=1).flip(1).clamp(min=torch.finfo(rate.dtype).tiny)
    goal = missing.abs()[:, None]
    k = (stopped + bend * moving < goal).sum(dim=1, keepdim=True).clamp(max=x.shape[1] - 1)
    # Out of reach, t is the last bend: everything goes all its way.
    t = torch.minimum((goal - stopped.gather(1, k)).clamp(min=0) / moving.gather(1, k), bend.gather(1, k))
    return direction * torch.minimum(t * slope, room)
