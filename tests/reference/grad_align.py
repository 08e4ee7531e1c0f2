"""Andriushchenko & Flammarion 2020, the authors' regulariser as published."""

import torch
from torch.nn import functional as F


def l2_norm_batch(v):
    return (v**2).sum([1, 2, 3]) ** 0.5


def input_grad(model, x, y, delta):
    delta = delta.clone().requires_grad_()
    loss = F.cross_entropy(model(x + delta), y)
    return torch.autograd.grad(loss, delta, create_graph=True)[0]


def grad_align_term(model, x, y, noise, weight):
    """``noise`` is the authors' uniform delta."""
    grad1, grad2 = input_grad(model, x, y, torch.zeros_like(x)), input_grad(model, x, y, noise)
    grads_nnz_idx = (l2_norm_batch(grad1) != 0) * (l2_norm_batch(grad2) != 0)
    grad1, grad2 = grad1[grads_nnz_idx], grad2[grads_nnz_idx]
    grad1_normed = grad1 / l2_norm_batch(grad1)[:, None, None, None]
    grad2_normed = grad2 / l2_norm_batch(grad2)[:, None, None, None]
    cos = torch.sum(grad1_normed * grad2_normed, (1, 2, 3))
    return weight * (1.0 - cos.mean())
