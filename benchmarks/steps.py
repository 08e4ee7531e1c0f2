"""The kinds of training step that the benchmarks time, and what their passes sum up to."""

import torch
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.networks.compiled import compiled
from lightning_advinterp.objectives import Consistency, Madry, Standard


def plain_step(network, batch, optimizer):
    """The standard step of a bare loop."""
    optimizer.zero_grad()
    F.cross_entropy(network(batch.image), batch.label).backward()
    optimizer.step()


def naive_consistent_step(network, batch, optimizer, layer, *, full_backward=False):
    """The consistent loss as one would write it first: an attack of its own, then both images again."""
    x = batch.image.clone().requires_grad_()
    loss = F.cross_entropy(network(x), batch.label)
    if full_backward:
        loss.backward()
        gradient = x.grad
    else:
        (gradient,) = torch.autograd.grad(loss, x)
    x_adv = (batch.image + 8 / 255 * gradient.sign()).clamp(0, 1)
    optimizer.zero_grad()
    logits, clean = network.forward_features(batch.image, [layer])
    adv_logits, adversarial = network.forward_features(x_adv, [layer])
    loss = 0.5 * F.cross_entropy(logits, batch.label) + 0.5 * F.cross_entropy(adv_logits, batch.label)
    (loss + F.mse_loss(adversarial[layer], clean[layer])).backward()
    optimizer.step()


def forward_pass(network, batch, optimizer):
    """One forward pass that records a graph."""
    F.cross_entropy(network(batch.image), batch.label)


def input_gradient(network, batch, optimizer):
    """One forward pass, and a backward pass to the input alone."""
    x = batch.image.clone().requires_grad_()
    torch.autograd.grad(F.cross_entropy(network(x), batch.label), x)


def objective_step(objective, passes=None):
    """A bare loop over one of this project's objectives, with compiled passes if there are any."""

    def step(network, batch, optimizer):
        optimizer.zero_grad()
        with compiled(network, passes):
            loss = objective(network, batch, epoch=0)
        loss.total.backward(inputs=list(network.parameters()))  # as the module does
        optimizer.step()

    return step


def variants(layer):
    """Name to step function."""
    fgsm = AttackConfig("fgsm", "8/255")
    return {
        "forward pass": forward_pass,
        "forward, input backward": input_gradient,
        "plain loop": plain_step,
        "standard": objective_step(Standard()),
        "consistency": objective_step(Consistency(fgsm)),
        "consistency, bn: eval": objective_step(Consistency(fgsm, bn="eval")),
        "naive": lambda *args: naive_consistent_step(*args, layer),
        "naive, .backward()": lambda *args: naive_consistent_step(*args, layer, full_backward=True),
        "madry, 7 steps": objective_step(Madry(AttackConfig("pgd", "8/255", steps=7))),
    }


def counted(medians):
    """What each step's passes sum up to: forward, backward to the input, full backward with the update."""
    forward = medians["forward pass"]
    to_input = medians["forward, input backward"] - forward
    full = medians["plain loop"] - forward
    passes = {
        "consistency": (2, 1, 2),
        "consistency, bn: eval": (3, 1, 2),
        "naive": (3, 1, 2),
        "naive, .backward()": (3, 0, 3),
        "madry, 7 steps": (8, 7, 1),
    }
    return {name: f * forward + i * to_input + b * full for name, (f, i, b) in passes.items()}
