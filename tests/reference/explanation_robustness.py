"""The terms of Dombrowski et al. 2022 and Chen et al. 2019 word for word: a dense Hessian, a loop over the path."""

import torch
from torch.nn import functional as F


def small_forward(network, x, beta=None, batch_statistics=False):
    """What ``helpers.small_network`` computes, its normalisations and activations written out."""
    body, mean, std = network.backbone, x.new_tensor(network.mean), x.new_tensor(network.std)
    x = (x - mean[:, None, None]) / std[:, None, None]
    for conv, bn in ((body.conv1, body.bn1), (body.conv2, body.bn2)):
        x = F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)
        mean, var = bn.running_mean.clone(), bn.running_var.clone()
        if batch_statistics:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        mean, var, weight, bias = (value[:, None, None] for value in (mean, var, bn.weight, bn.bias))
        x = (x - mean) / torch.sqrt(var + bn.eps) * weight + bias
        x = torch.clamp(x, min=0) if beta is None else torch.logaddexp(beta * x, torch.zeros_like(x)) / beta
    return x.mean((2, 3)) @ body.fc.weight.T + body.fc.bias


def squared_hessian_norm(score, x):
    """The squares of all second derivatives of the scores' sum by the images' pixels, summed, over the images."""
    hessian = torch.autograd.functional.hessian(lambda images: score(images).sum(), x, create_graph=True)
    return hessian.square().sum() / len(x)


def integrated_gradients(loss, x, x_adv, m):
    """(x* - x) times the mean of the gradients at x + k/m (x* - x), k = 1 ... m."""
    total = torch.zeros_like(x)
    for k in range(1, m + 1):
        z = x + float(k) / m * (x_adv - x)
        if not z.requires_grad:
            z.requires_grad_()
        total = total + torch.autograd.grad(loss(z), z, create_graph=True)[0]
    return total * (x_adv - x) / float(m)


def attack(objective, x, start, eps, steps, step_size):
    """The authors' loop: signs of the gradient of the objective by x*, the ball, the box."""
    x_adv = start
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        grad = torch.autograd.grad(objective(x_adv), x_adv)[0]
        x_adv = x_adv.detach() + step_size * torch.sign(grad)
        x_adv = torch.clamp(torch.min(torch.max(x_adv, x - eps), x + eps), 0.0, 1.0)
    return x_adv
