"""Zhang et al. 2019, the authors' loss function as published: the attack in evaluation mode, three training passes."""

import torch
from torch.nn import functional as F


def trades_loss(model, x_natural, y, start, step_size=0.007, epsilon=0.031, perturb_steps=10, beta=6.0):
    """CE + beta / batch size * summed KL; ``start`` is the authors' 0.001 * randn."""
    batch_size = len(x_natural)
    model.eval()
    x_adv = x_natural.detach() + start
    for _ in range(perturb_steps):
        x_adv = x_adv.detach().requires_grad_(True)
        p_natural, log_q = F.softmax(model(x_natural), dim=1), F.log_softmax(model(x_adv), dim=1)
        loss_kl = (p_natural * (p_natural.log() - log_q)).sum()
        grad = torch.autograd.grad(loss_kl, [x_adv])[0]
        x_adv = x_adv.detach() + step_size * torch.sign(grad)
        x_adv = torch.min(torch.max(x_adv, x_natural - epsilon), x_natural + epsilon)
        x_adv = torch.clamp(x_adv, 0.0, 1.0)
    model.train()
    loss_natural = F.cross_entropy(model(x_natural), y)
    log_q, p_natural = F.log_softmax(model(x_adv.detach()), dim=1), F.softmax(model(x_natural), dim=1)
    loss_robust = (p_natural * (p_natural.log() - log_q)).sum() / batch_size
    return loss_natural + beta * loss_robust
