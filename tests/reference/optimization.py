"""Dong, Su, Zhu 2022, Eq. 2 and 4, word for word: one image at a time, pixels of 0 to 255, torch's own Adam."""

import torch
from torch.nn import functional as F


def optimise(network, x, y, *, weight, targeted, distance="mean", step=5, least=10, most=20, eps=255):
    """Minimise d(x*, x) + weight L(f(x*), y) (targeted) or d(x*, x) - weight L(f(x*), y); return x* and its steps.

    ``x`` is one image ``[C, H, W]`` of 0 to 255; ``eps`` caps the greatest change.
    """
    x_adv = x.clone().requires_grad_()
    adam = torch.optim.Adam([x_adv], lr=step)
    for iteration in range(1, most + 1):
        square = (x_adv - x) ** 2
        d = square.mean() if distance == "mean" else square.sum()
        loss = F.cross_entropy(network(x_adv[None] / 255), y[None])
        adam.zero_grad()
        (d + weight * loss if targeted else d - weight * loss).backward()
        adam.step()
        with torch.no_grad():
            x_adv.clamp_(0, 255)
            x_adv.copy_(torch.min(torch.max(x_adv, x - eps), x + eps))
            success = (network(x_adv[None] / 255).argmax() == y) == targeted
        if iteration >= least and success:
            break
    return x_adv.detach(), iteration
