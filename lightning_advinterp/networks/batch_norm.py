"""Batch statistics that can be differentiated three times, for the length of a ``with`` block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


@contextmanager
def composed_batch_norm() -> Iterator[None]:
    """Compute batch normalisation by batch statistics from elementary operations inside the block.

    The gradient of a penalty on second derivatives is a third derivative, which torch's own operation refuses
    ("batch_norm does not support 3rd+ order derivatives") where it uses the batch's statistics. With running
    statistics, which it does support, torch's own is kept. The values are the same up to rounding.
    """
    with _Composed():
        yield


class _Composed(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs or {})
        return func(*args, **kwargs or {})


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """See ``torch.nn.functional.batch_norm``; only without running statistics is it computed here."""
    if not training or running_mean is not None:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    axes = [axis for axis in range(input.dim()) if axis != 1]
    exact = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
    centred = exact - exact.mean(axes, keepdim=True)
    normal = centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()
    shape = [1, -1, *[1] * (input.dim() - 2)]
    if weight is not None:
        normal = normal * weight.view(shape)
    if bias is not None:
        normal = normal + bias.view(shape)
    return normal.to(input.dtype)
