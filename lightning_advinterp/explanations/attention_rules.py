"""AttnLRP's rules as multipliers: with R = value ⊙ m, what a call's inputs get of the m of its outputs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.explanations.tape import Call, Kind, Tape, pulled
from lightning_advinterp.networks.smoothing import active_beta

_LINEAR = (
    "add add_ __add__ __iadd__ __radd__ iadd sub sub_ __sub__ __isub__ __rsub__ rsub neg __neg__ cat concat "
    "stack view reshape view_as reshape_as permute transpose swapaxes movedim t __get__ flatten unflatten "
    "squeeze unsqueeze expand expand_as repeat repeat_interleave tile contiguous clone to float double type "
    "type_as chunk split split_with_sizes tensor_split unbind narrow select getitem __getitem__ index_select "
    "gather roll flip pad mean sum dropout dropout1d dropout2d feature_dropout avg_pool2d adaptive_avg_pool2d "
    "max_pool2d adaptive_max_pool2d amax interpolate pixel_shuffle pixel_unshuffle unfold fold masked_fill "
    "where batch_norm"
)
_PRODUCTS = "mul mul_ __mul__ __imul__ __rmul__ multiply matmul __matmul__ __rmatmul__ bmm einsum addcmul"
_KINDS: dict[Kind, str] = {
    Kind.LINEAR: _LINEAR,
    Kind.WEIGHTED: "linear conv1d conv2d conv_transpose2d",
    Kind.PRODUCT: _PRODUCTS,
    Kind.QUOTIENT: "div div_ true_divide __truediv__ __itruediv__",
    Kind.SOFTMAX: "softmax",
    Kind.ELEMENTWISE: "gelu silu silu_ hardswish hardswish_ mish relu relu_ relu6 hardtanh hardtanh_ leaky_relu "
    "leaky_relu_ prelu elu celu selu tanh",
    Kind.NORM: "layer_norm group_norm rms_norm normalize",
    Kind.FACTOR: "sigmoid sigmoid_ hardsigmoid norm pow __pow__ square var std rsqrt",
}
KINDS: dict[str, Kind] = {name: kind for kind, names in _KINDS.items() for name in names.split()}
"""What every function that there is a rule for does."""


def attention_rule(gamma: float) -> Callable[[Tape, Call, Sequence[Tensor | None]], Sequence[Tensor | None]]:
    """Return AttnLRP's rules; γ of linear and convolutional layers, 0 for the ε rule with ε → 0."""

    def rule(tape: Tape, call: Call, multipliers: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        m = multipliers[0]
        if call.kind is Kind.FACTOR:
            return [None] * len(call.inputs)
        if call.kind is Kind.PRODUCT or call.kind is Kind.QUOTIENT:
            return _shared(tape, call, multipliers)
        if m is not None and call.kind is Kind.ELEMENTWISE:
            return [m * _ratio(tape, call)]
        if m is not None and call.kind is Kind.NORM:
            return [_NORMS[call.name](m, *call.args, **call.kwargs)]
        if m is not None and call.kind is Kind.WEIGHTED and gamma > 0:
            return [_generalised_gamma(tape, call, m, gamma)]
        return pulled(tape, call, multipliers)

    return rule


def _shared(tape: Tape, call: Call, multipliers: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Share the relevance of a product among its inputs evenly; gates and statistics get none."""
    signals = [number not in tape.factors for number in call.inputs]
    share = 1 / sum(signals)
    pulls = pulled(tape, call, multipliers)
    return [pull * share if signal and pull is not None else None for pull, signal in zip(pulls, signals, strict=True)]


def _ratio(tape: Tape, call: Call) -> Tensor:
    """Return f(x) / x, with which R passes an activation f unchanged."""
    x, y = tape.values[call.inputs[0]], tape.values[call.outputs[0]]
    if call.name == "gelu":
        if call.kwargs.get("approximate", "none") == "none":
            return 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if call.name in ("silu", "silu_"):
        return torch.sigmoid(x)
    if call.name in ("relu", "relu_") and active_beta() is None:
        return (x > 0).to(x.dtype)
    zero = x == 0
    return torch.where(zero, torch.zeros_like(x), y / torch.where(zero, torch.ones_like(x), x))


def _layer_norm(
    m: Tensor, input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Propagate through x ↦ w (x − mean) / σ + b, linear with σ held."""
    axes = tuple(range(-len(tuple(normalized_shape)), 0))
    scaled = m if weight is None else m * weight
    scaled = scaled * (input.var(axes, correction=0, keepdim=True) + eps).rsqrt()
    return scaled - scaled.mean(axes, keepdim=True)


def _group_norm(
    m: Tensor, input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    scaled = m if weight is None else m * weight.view(1, -1, *[1] * (m.dim() - 2))
    groups, values = (part.reshape(len(m), num_groups, -1) for part in (scaled, input))
    return _layer_norm(groups, values, groups.shape[2:], eps=eps).view_as(m)


def _rms_norm(
    m: Tensor, input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    axes = tuple(range(-len(tuple(normalized_shape)), 0))
    scaled = m if weight is None else m * weight
    least = torch.finfo(input.dtype).eps if eps is None else eps
    return scaled * (input.square().mean(axes, keepdim=True) + least).rsqrt()


def _normalize(m: Tensor, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(input, p, dim, keepdim=True)
    return m / length.clamp(min=eps)


_NORMS: dict[str, Callable[..., Tensor]] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "rms_norm": _rms_norm,
    "normalize": _normalize,
}


def _generalised_gamma(tape: Tape, call: Call, m: Tensor, gamma: float) -> Tensor:
    """Propagate through z = W x + b: contributions of z's sign count 1 + γ times, whatever the signs of x.

    Where z > 0, x⁺ meets W + γW⁺, x⁻ meets W + γW⁻, and the bias is b + γb⁺; where z < 0, signs change places.
    """
    x, z = tape.values[call.inputs[0]], tape.values[call.outputs[0]]
    names = dict(zip(("input", "weight", "bias"), call.args, strict=False)) | call.kwargs
    rest, weight, bias = call.args[3:], names["weight"], names.get("bias")
    options = {name: value for name, value in call.kwargs.items() if name not in ("input", "weight", "bias")}
    relevance = z * m
    total = torch.zeros_like(x)
    for sign in (1, -1):
        strong, weak = (weight + gamma * (weight * s).clamp(min=0) * s for s in (sign, -sign))
        offset = None if bias is None else bias + gamma * (bias * sign).clamp(min=0) * sign

        def output(point: Tensor, weight: Tensor, offset: Tensor | None = None) -> Tensor:
            result: Tensor = call.func(point, weight, offset, *rest, **options)
            return result

        raised = output(x.clamp(min=0), strong, offset) + output(x.clamp(max=0), weak)
        of_sign = z * sign > 0
        s = torch.where(of_sign, relevance / torch.where(of_sign, raised, torch.ones_like(z)), torch.zeros_like(z))
        total = total + torch.where(x > 0, _transposed(output, x, s, strong), _transposed(output, x, s, weak))
    return total


def _transposed(output: Callable[[Tensor, Tensor], Tensor], x: Tensor, s: Tensor, weight: Tensor) -> Tensor:
    """Return Wᵀ s."""
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        point = torch.zeros_like(x).requires_grad_()
        (back,) = torch.autograd.grad(output(point, weight), point, s, create_graph=graph)
    return back
