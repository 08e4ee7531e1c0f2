"""ReLU made smooth for the length of a ``with`` block: softplus wherever relu is called."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

THRESHOLD = 50.0
"""Above βx = 50 softplus is x: exact to rounding also in float64, and exp(50) overflows no float32."""

_ACTIVE: ContextVar[float | None] = ContextVar("beta", default=None)

RELUS: dict[Any, bool] = {
    F.relu: False,
    torch.relu: False,
    Tensor.relu: False,
    F.relu_: True,
    torch.relu_: True,
    Tensor.relu_: True,
}
"""Every way to call relu; whether it works in place (``F.relu`` says so in its arguments)."""

_LEAKY = {F.leaky_relu: False, F.leaky_relu_: True, F.prelu: False, Tensor.prelu: False}
_HARD = frozenset({F.hardswish, F.hardsigmoid})
_CLIPPED = {F.hardtanh: (-1.0, 1.0), F.hardtanh_: (-1.0, 1.0), F.relu6: (0.0, 6.0)}


def softplus(x: Tensor, beta: float) -> Tensor:
    """softplus_β(x) = log(1 + exp(βx)) / β; its derivative is σ(βx)."""
    return F.softplus(x, beta, THRESHOLD)


def active_beta() -> float | None:
    """Return β of the innermost :func:`smoothed_relu` block around the caller; None outside of any."""
    return _ACTIVE.get()


@contextmanager
def smoothed_relu(beta: float | None) -> Iterator[None]:
    """Compute softplus_β wherever relu is called inside the block, in modules and functions alike.

    ReLU6, min(max(x, 0), 6), becomes softplus_β(x) − softplus_β(x − 6), and other ``hardtanh`` accordingly; leaky relu
    and PReLU of slope a become a x + (1 − a) softplus_β(x). Hardsigmoid, ReLU6(x + 3)/6, and Hardswish, x times it,
    take the surrogate of their ReLU6. GELU, SiLU and other smooth functions stay as they are. The network itself is not
    touched, so there is nothing to undo on it. Double backward of a piecewise linear network is zero almost everywhere;
    inside this block it is not.
    The block acts on the calling thread, and not on a network that was compiled before.

    Args:
        beta: β > 0; the larger, the nearer to relu (the difference is at most log(2)/β). None changes nothing.

    Raises:
        ValueError: if β is not above 0.

    Reference:
        Dombrowski et al. 2019, Explanations can be manipulated and geometry is to blame, section 4.

    >>> with smoothed_relu(2.0):
    ...     round(float(F.relu(torch.zeros(1))), 4)
    0.3466
    """
    if beta is None:
        yield
        return
    if not 0 < beta < float("inf"):
        raise ValueError(f"beta must be a number above 0 (inf would be relu itself: pass None), got {beta}.")
    token = _ACTIVE.set(float(beta))
    try:
        with _Smoothing(float(beta)):
            yield
    finally:
        _ACTIVE.reset(token)


class _Smoothing(TorchFunctionMode):
    def __init__(self, beta: float) -> None:
        super().__init__()
        self._beta = beta

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        call = relu_call(func, args, kwargs)
        if call is not None:
            x, inplace = call
            # a copy, since softplus keeps its input for the backward pass
            return x.copy_(softplus(x.clone(), self._beta)) if inplace else softplus(x, self._beta)
        if func in _LEAKY and isinstance(args[0] if args else kwargs["input"], Tensor):
            return self._leak(_LEAKY[func], *args, **kwargs)
        if func in _CLIPPED and isinstance(args[0] if args else kwargs["input"], Tensor):
            return self._clip(func, *args, **kwargs)
        if func in _HARD and isinstance(args[0] if args else kwargs["input"], Tensor):
            return self._hard(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _hard(self, func: Callable[..., Any], input: Tensor, inplace: bool = False) -> Tensor:
        x = input.clone() if inplace else input
        gate = (softplus(x + 3, self._beta) - softplus(x - 3, self._beta)) / 6
        bent = x * gate if func is F.hardswish else gate
        return input.copy_(bent) if inplace else bent

    def _leak(
        self,
        always_inplace: bool,
        input: Tensor,
        negative_slope: float | Tensor = 0.01,
        inplace: bool = False,
        weight: Tensor | None = None,
    ) -> Tensor:
        slope = negative_slope if weight is None else weight
        if isinstance(slope, Tensor) and input.dim() > 1:  # one slope, or one for each channel
            slope = slope.view(-1, *[1] * (input.dim() - 2))
        inplace = inplace or always_inplace
        x = input.clone() if inplace else input
        bent = slope * x + (1 - slope) * softplus(x, self._beta)
        return input.copy_(bent) if inplace else bent

    def _clip(
        self,
        func: Callable[..., Any],
        input: Tensor,
        min_val: float | bool | None = None,
        max_val: float | None = None,
        inplace: bool = False,
    ) -> Tensor:
        low, high = _CLIPPED[func]
        if func is F.relu6:  # its second argument is ``inplace``
            inplace = inplace or bool(min_val)
        else:
            low, high = low if min_val is None else float(min_val), high if max_val is None else max_val
        x = input.clone() if inplace else input
        clipped = low + softplus(x - low, self._beta) - softplus(x - high, self._beta)
        return input.copy_(clipped) if inplace or func is F.hardtanh_ else clipped


def smoothed_functions() -> frozenset[str]:
    """Return the names of all functions for which :func:`smoothed_relu` has a surrogate."""
    return frozenset(func.__name__ for func in (*RELUS, *_LEAKY, *_CLIPPED, *_HARD))


def relu_call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, bool] | None:
    """Return the input of a call of relu and whether it works in place; None for any other function.

    Also None for what is no tensor: a symbolic trace inside of a smoothing block must find relu.
    """
    if func not in RELUS or not isinstance(args[0] if args else kwargs["input"], Tensor):
        return None
    inplace = RELUS[func] or bool(args[1] if len(args) > 1 else kwargs.get("inplace", False))
    return (args[0] if args else kwargs["input"]), inplace
