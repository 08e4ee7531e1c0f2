"""Wong et al. 2020, one step of the authors' FGSM training: attack and loss in training mode."""

import torch
from torch.nn import functional as F


def fast_loss(model, x, y, delta, epsilon, alpha):
    """The loss at x + delta; ``delta`` is the authors' uniform start."""
    lower, upper = 0 - x, 1 - x
    delta = torch.max(torch.min(delta, upper), lower).requires_grad_(True)
    loss = F.cross_entropy(model(x + delta), y)
    grad = torch.autograd.grad(loss, delta)[0]
    delta = torch.clamp(delta.detach() + alpha * torch.sign(grad), -epsilon, epsilon)
    delta = torch.max(torch.min(delta, upper), lower)
    return F.cross_entropy(model(x + delta), y)
