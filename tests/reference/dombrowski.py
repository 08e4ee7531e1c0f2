"""Dombrowski et al. 2019's manipulation of the gradient map of one image, step by step as their code takes it."""

import torch
from torch.nn import functional as F

from reference.ghorbani import forward


def explanation(body, z, label, beta):
    """Logits [1, K] and map [H, W] with sum 1, from the logit as the relevance that is handed back."""
    logits = forward(body, z, beta)
    start = torch.zeros_like(logits)
    start[0, label] = logits[0, label]
    (gradient,) = torch.autograd.grad(logits, z, start, create_graph=True)
    total = gradient[0].abs().sum(0)
    return logits, total / total.sum()


def attack(network, x0, target, *, iterations, lr, betas, prefactors=(1e11, 1e6)):
    """Return the last iterate of one image [C, H, W]; ``lr`` is in normalised units, as is the box."""
    body = network.backbone
    low, high = (network.normalize(torch.full_like(x0[None], value)) for value in (0.0, 1.0))
    z = network.normalize(x0[None]).detach()
    probabilities = forward(body, z, None).softmax(1).detach()
    label = int(probabilities.argmax())
    z_adv = z.clone().requires_grad_()
    optimizer = torch.optim.Adam([z_adv], lr=lr)
    for i in range(iterations):
        beta = betas[0] * (betas[1] / betas[0]) ** (i / iterations)
        logits, heat = explanation(body, z_adv, label, beta)
        loss = prefactors[0] * F.mse_loss(heat, target) + prefactors[1] * F.mse_loss(logits.softmax(1), probabilities)
        (z_adv.grad,) = torch.autograd.grad(loss, z_adv)
        optimizer.step()
        with torch.no_grad():
            z_adv.copy_(torch.maximum(torch.minimum(z_adv, high), low))
    mean, std = (torch.tensor(values, dtype=z.dtype)[:, None, None] for values in (network.mean, network.std))
    return z_adv[0].detach() * std + mean
