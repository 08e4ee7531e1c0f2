"""Dong, Su, Zhu 2022, Eq. 1, 8 and 9, word for word: one image at a time, three forward passes."""

import torch
from torch.nn import functional as F


def consistent_loss(network, phi, x, y, eps, alpha=0.5):
    """Mean over the images of Eq. 8 + Eq. 9 (d: squared Euclidean distance), the coefficients as printed."""
    total = 0.0
    for i in range(len(x)):
        xi = x[i : i + 1].clone().requires_grad_(True)
        gradient = torch.autograd.grad(F.cross_entropy(network(xi), y[i : i + 1]), xi)[0]
        x_fgsm = (x[i : i + 1] + eps[i] * gradient.sign()).clamp(0, 1)  # Eq. 1
        clean, adversarial = (F.cross_entropy(network(z), y[i : i + 1]) for z in (x[i : i + 1], x_fgsm))
        classification = alpha * clean + (1 - alpha) * adversarial  # Eq. 8
        consistency = (phi(x[i : i + 1]) - phi(x_fgsm)).square().sum()  # Eq. 9
        total = total + classification + consistency
    return total / len(x)
