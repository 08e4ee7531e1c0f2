"""Shafahi et al. 2019, the authors' training loop: replays, one global noise, one backward pass for both moves."""

import torch
from torch.nn import functional as F


def free_training(model, batches, n_repeats, clip_eps, fgsm_step, lr, batch_size):
    """Train by plain gradient descent in place; returns the losses and, after every step, the noise."""
    losses, noises = [], []
    x, _ = batches[0]
    global_noise = torch.zeros(batch_size, *x.shape[1:], dtype=x.dtype)
    for x, y in batches:
        for _ in range(n_repeats):
            noise_batch = global_noise[: len(x)].clone().requires_grad_(True)
            loss = F.cross_entropy(model((x + noise_batch).clamp(0, 1)), y)
            model.zero_grad()
            loss.backward()
            global_noise[: len(x)] += fgsm_step * torch.sign(noise_batch.grad)
            global_noise.clamp_(-clip_eps, clip_eps)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= lr * parameter.grad
            losses.append(loss.detach())
            noises.append(global_noise.clone())
    return losses, noises
