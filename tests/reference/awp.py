"""Wu et al. 2020, the authors' class as published: a proxy network climbs, its weights' change is scaled and added."""

import copy
from collections import OrderedDict

import torch

EPS = 1e-20


def diff_in_weights(model, proxy):
    diff_dict = OrderedDict()
    model_state_dict, proxy_state_dict = model.state_dict(), proxy.state_dict()
    for (old_k, old_w), (_, new_w) in zip(model_state_dict.items(), proxy_state_dict.items(), strict=True):
        if len(old_w.size()) <= 1:
            continue
        if "weight" in old_k:
            diff_w = new_w - old_w
            diff_dict[old_k] = old_w.norm() / (diff_w.norm() + EPS) * diff_w
    return diff_dict


def add_into_weights(model, diff, coeff=1.0):
    names_in_diff = diff.keys()
    with torch.no_grad():
        for name, param in model.named_parameters():
            if name in names_in_diff:
                param.add_(coeff * diff[name])


def awp_gradients(model, loss_of, gamma, proxy_lr=0.01):
    """One step: calc_awp on a proxy by SGD, perturb, the loss's gradients, restore. Returns loss and gradients."""
    proxy = copy.deepcopy(model)
    proxy.train()
    proxy_optim = torch.optim.SGD(proxy.parameters(), lr=proxy_lr)
    loss = -loss_of(proxy)
    proxy_optim.zero_grad()
    loss.backward()
    proxy_optim.step()
    awp = diff_in_weights(model, proxy)
    add_into_weights(model, awp, coeff=1.0 * gamma)
    model.train()
    loss = loss_of(model)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    add_into_weights(model, awp, coeff=-1.0 * gamma)
    return loss.detach(), gradients
