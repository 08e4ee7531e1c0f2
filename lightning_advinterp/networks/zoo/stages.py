"""Blocks of a residual network one after the other."""

from collections.abc import Callable

from torch import nn


def chain(
    block: Callable[[int, int, int], nn.Module], inputs: int, outputs: int, count: int, stride: int
) -> nn.Sequential:
    """Return ``count`` blocks, of which the first changes the number of channels and has the stride."""
    first = block(inputs, outputs, stride)
    return nn.Sequential(first, *(block(outputs, outputs, 1) for _ in range(count - 1)))
