"""Gradients as parts of a graph that remembers where they were taken, and computes the rest again when asked."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.networks.attention import twice_differentiable_attention

Score = Callable[[Tensor], Tensor]
"""Images ``[B, C, H, W]`` to numbers ``[B]``; it brings the network's mode with it, since it is called again later."""


def recomputed_gradient(score: Score, point: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return ∂ Σ score(point) / ∂ point, differentiable once more, and keep no more of it than ``point``.

    A sum of n such gradients takes the memory of one graph instead of n. Its backward pass computes each gradient
    again: a forward pass and a backward pass to the input more. (``torch.utils.checkpoint`` computes the forward pass
    three times, since it throws away what the first gradient needs.)

    Args:
        score: the function, without random numbers.
        point: ``[B, C, H, W]``.
        parameters: what the result shall be differentiable with respect to, besides ``point``.

    Returns:
        ``[B, C, H, W]``. A second derivative of it raises an error.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    gradient: Tensor = _Recomputed.apply(score, point, *trainable)
    return gradient


def _gradient(score: Score, point: Tensor, *, create_graph: bool) -> Tensor:
    with torch.enable_grad():
        value = score(point)
        return input_gradient(value, point, torch.ones_like(value), create_graph=create_graph)


def input_gradient(of: Tensor, by: Tensor, start: Tensor, *, create_graph: bool) -> Tensor:
    """Return ∂ Σ start ⊙ of / ∂ by.

    Raises:
        ValueError: if there is none, instead of torch's error, which names no network.
    """
    gradient: Tensor | None = None
    if of.requires_grad:
        (gradient,) = torch.autograd.grad(of, by, start, create_graph=create_graph, allow_unused=True)
    if gradient is None:
        raise ValueError(
            "the network's output has no gradient with respect to the image: it works under no_grad, detaches or "
            "quantises on the way, or does not look at the image; take occlusion."
        )
    return gradient


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, score: Score, point: Tensor, *parameters: Tensor) -> Tensor:
        device = point.device.type
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        ctx.score = score
        ctx.save_for_backward(point, *parameters)
        return _gradient(score, point.detach().requires_grad_(), create_graph=False)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the graph asked for would miss what is computed again
            raise RuntimeError(
                "a gradient that is computed again has one derivative: leave create_graph or recompute out."
            )
        point, *parameters = ctx.saved_tensors
        device, dtype, enabled = ctx.autocast
        point = point.detach().requires_grad_()
        with torch.autocast(device, dtype, enabled=enabled), twice_differentiable_attention():
            gradient = _gradient(ctx.score, point, create_graph=True)
        if not gradient.requires_grad:  # a linear score of what has no parameters
            return (None, *[None] * (1 + len(parameters)))
        return (None, *torch.autograd.grad(gradient, [point, *parameters], outer[0], allow_unused=True))
