"""Ghorbani et al. 2019's attack on the gradient map of one image, in the steps of their code.

The centre of mass is kept away from that of the relu network's map; their code takes the surrogate's.
"""

import math

import torch
from torch.nn import functional as F


def saliency(network, x, label, smooth):
    """Map [H, W] of the normalised input's gradient, with sum 1; smooth replaces relu in the modules."""
    z = network.normalize(x[None])
    if not z.requires_grad:
        z.requires_grad_()
    logits = forward(network.backbone, z, smooth)
    (gradient,) = torch.autograd.grad(logits[0, label], z, create_graph=True)
    total = gradient[0].abs().sum(0)
    return total / total.sum()


def forward(body, z, beta):
    """A sequential network."""
    for module in body:
        relu = isinstance(module, torch.nn.ReLU) and beta is not None
        z = F.softplus(z, beta, 50) if relu else module(z)
    return z


def mass_centre(heat):
    """Row and column."""
    rows = sum(heat[i].sum() * i for i in range(heat.shape[0]))
    columns = sum(heat[:, j].sum() * j for j in range(heat.shape[1]))
    return rows, columns


def attack(network, x0, kind, *, eps, alpha, iterations, k, beta, measure, region=None):
    """Return the best iterate of one image [C, H, W], or the image where there is none."""
    with torch.no_grad():
        label = int(network(x0[None]).argmax())
    original = saliency(network, x0, label, None).detach()
    top = set(original.flatten().topk(k).indices.tolist())
    centre0 = [int(c) for c in mass_centre(original)]
    best, best_criterion = x0, {"topk": 1.0, "center_shift": 0.0}[measure]
    x = x0
    for _ in range(iterations):
        image = x.clone().requires_grad_()
        heat = saliency(network, image, label, beta)
        if kind == "topk":
            objective = -sum(heat.flatten()[i] for i in top)
        elif kind == "mass_centre":
            objective = sum((c - c0) ** 2 for c, c0 in zip(mass_centre(heat), centre0, strict=True))
        else:
            objective = (heat * region).sum()
        (gradient,) = torch.autograd.grad(objective, image)
        x = x0 + (x + alpha * gradient.sign() - x0).clamp(-eps, eps)
        x = x.clamp(0, 1)
        with torch.no_grad():
            label_kept = int(network(x[None]).argmax()) == label
        now = saliency(network, x, label, None).detach()
        if measure == "topk":
            criterion = len(top & set(now.flatten().topk(k).indices.tolist())) / k
        else:
            criterion = -math.dist(*([float(c) for c in mass_centre(m)] for m in (now, original)))
        if label_kept and criterion < best_criterion:
            best, best_criterion = x, criterion
    return best
