"""The classifier's last layer, for influence functions: its input, and another one trained on it for few classes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.networks.network import Network

_GRADIENT = 1e-7
"""The largest entry of the gradient at what counts as the minimum."""


def penultimate(network: Network, x: Tensor) -> Tensor:
    """Return the input of the network's last layer, ``[B, F]``; of maps (SqueezeNet) the mean over places.

    Args:
        network: one with a known last layer; it runs uncompiled.
        x: ``[B, C, H, W]`` in [0, 1].

    Raises:
        ValueError: if the last layer is not known, or takes neither vectors nor maps.
    """
    network.prepare(("penultimate",))
    _, features = network.eager_features(x, ("penultimate",))
    return pooled(features["penultimate"])


def pooled(features: Tensor) -> Tensor:
    """Return vectors ``[B, F]`` as they are, and of maps ``[B, F, H, W]`` the mean over places."""
    if features.dim() not in (2, 4):
        raise ValueError(
            f"influence functions need vectors [B, F] or maps [B, F, H, W] before the last layer, got shape "
            f"{tuple(features.shape)}."
        )
    return features if features.dim() == 2 else features.mean((2, 3))


def fit_last_layer(features: Tensor, labels: Tensor, classes: int, *, damping: float = 0.01) -> tuple[Tensor, Tensor]:
    """Train a linear layer with softmax: the minimum of the mean cross-entropy + damping/2 ‖θ‖², weights and biases.

    The objective is convex, so there is one answer; with the same damping the influence function's Hessian is that of
    this objective.

    Args:
        features: ``[N, F]``.
        labels: int64 ``[N]``, 0 to classes − 1.
        classes: K.
        damping: above 0.

    Returns:
        Weight ``[K, F]`` and bias ``[K]``, float64.

    Raises:
        RuntimeError: if the minimum was not reached.
    """
    inputs = features.detach().double()
    weight = torch.zeros(classes, inputs.shape[1], dtype=torch.float64, device=inputs.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, device=inputs.device, requires_grad=True)
    search = torch.optim.LBFGS(
        [weight, bias],
        max_iter=2000,
        tolerance_grad=_GRADIENT / 10,
        tolerance_change=0,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        penalty = damping / 2 * (weight.square().sum() + bias.square().sum())
        loss = F.cross_entropy(inputs @ weight.T + bias, labels) + penalty
        weight.grad, bias.grad = torch.autograd.grad(loss, (weight, bias))
        return loss.detach()

    with torch.enable_grad():
        search.step(closure)  # type: ignore[no-untyped-call]
        closure()
    assert weight.grad is not None
    assert bias.grad is not None
    slope = max(float(weight.grad.abs().max()), float(bias.grad.abs().max()))
    if not slope <= _GRADIENT:
        raise RuntimeError(
            f"the last layer's training stopped at a gradient of {slope:.1e}; a larger damping than {damping} helps."
        )
    return weight.detach(), bias.detach()
