"""TI-FGSM of Dong et al. 2019, step by step, smoothing by scipy: torchattacks 3.5.1 finds the same images."""

import numpy as np
import torch
from scipy.signal import correlate2d
from scipy.stats import norm
from torch.nn import functional


def tifgsm(network, images, labels, eps, step, steps, decay, width):
    """Images [B,3,H,W] after ``steps`` steps whose gradients are smoothed by a Gaussian ``width`` pixels wide."""
    bell = norm.pdf(np.linspace(-3, 3, width)) if width > 1 else np.ones(1)
    kernel = np.outer(bell, bell) / np.outer(bell, bell).sum()
    x, momentum = images.clone(), torch.zeros_like(images)
    for _ in range(steps):
        x.requires_grad_()
        gradient = torch.autograd.grad(functional.cross_entropy(network(x), labels), x)[0]
        smooth = torch.empty_like(gradient)
        for image in range(len(images)):
            for channel in range(3):
                plane = gradient[image, channel].numpy()
                smooth[image, channel] = torch.from_numpy(correlate2d(plane, kernel, mode="same"))
            smooth[image] /= smooth[image].abs().mean()
        momentum = decay * momentum + smooth
        x = x.detach() + step * momentum.sign()
        x = torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(0, 1)
    return x
