"""Linear layers as weights: values, transposes, and BatchNorm folded into the convolution before it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from lightning_advinterp.explanations.operations import Op
from lightning_advinterp.explanations.program import Program, Step
from lightning_advinterp.networks.timm_layers import is_same_convolution, pad_same, same_padding


class Affine(NamedTuple):
    """z = W a + b of a convolution or linear layer.

    Attributes:
        module: whose stride, padding, … hold.
        weight: with the BatchNorm folded in.
        bias: likewise, ``[out]``; None where there is none.
    """

    module: nn.Module
    weight: Tensor
    bias: Tensor | None

    def apply(self, a: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Return W a + b for other weights and biases; without any argument but ``a``, W a."""
        weight = self.weight if weight is None else weight
        if isinstance(self.module, nn.Conv2d):
            module = self.module
            a = pad_same(a, module) if is_same_convolution(module) else a
            return F.conv2d(a, weight, bias, module.stride, module.padding, module.dilation, module.groups)
        return F.linear(a, weight, bias)

    def transpose(self, like: Tensor, r: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return Wᵀ r, of the shape of ``like`` (but as many as there are in ``r``)."""
        weight = self.weight if weight is None else weight
        if isinstance(self.module, nn.Conv2d):
            module = self.module
            (top, bottom), (left, right) = _padding(like, module)
            channels, height, width = like.shape[1:]
            back: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
                (len(r), channels, height + top + bottom, width + left + right),
                weight,
                r,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
            )
            return back[:, :, top : top + height, left : left + width]
        return r @ weight

    def outer(self, a: Tensor, y: Tensor) -> Tensor:
        """Return Σ y ⊗ a over images and places, of the shape of W: what a gradient by the weights is made of."""
        if isinstance(self.module, nn.Conv2d):
            module = self.module
            total: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
                pad_same(a, module) if is_same_convolution(module) else a,
                self.weight.shape,
                y,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
            )
            return total
        return y.flatten(0, -2).T @ a.flatten(0, -2)

    def per_output(self, values: Tensor) -> Tensor:
        """Return values ``[out]`` in a shape that broadcasts to W."""
        return values.view(-1, *[1] * (self.weight.dim() - 1))


def _padding(like: Tensor, module: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what a convolution adds to its input before it, beside the padding that PyTorch knows."""
    return same_padding(like, module) if is_same_convolution(module) else ((0, 0), (0, 0))


def norm_scale(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return s and t of a BatchNorm in eval mode, s·x + t, ``[C]`` each."""
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
        raise TypeError(f"expected a BatchNorm2d with running statistics, got {norm}.")
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def affine(step: Step) -> Affine:
    """Return the weights of a LINEAR step as they are now."""
    module = step.module
    if not isinstance(module, nn.Conv2d | nn.Linear):
        raise TypeError(f"{step.name} is no linear layer.")
    weight, bias = module.weight, module.bias
    if step.norm is None:
        return Affine(module, weight, bias)
    scale, shift = norm_scale(step.norm)
    return Affine(module, weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift)


class Run(NamedTuple):
    """One forward pass of a program.

    Attributes:
        values: of every step.
        indices: of every MAX_POOL step, where its values come from, flat over places; None for others.
        layers: of every LINEAR step.
    """

    values: list[Tensor]
    indices: list[Tensor | None]
    layers: list[Affine | None]


def run(program: Program, z: Tensor, layers: list[Affine | None] | None = None) -> Run:
    """Compute all steps for normalised images ``z``; ``layers`` from another run spare the folding."""
    layers = [affine(step) if step.op is Op.LINEAR else None for step in program.steps] if layers is None else layers
    values: list[Tensor] = []
    indices: list[Tensor | None] = []
    for step, layer in zip(program.steps, layers, strict=True):
        inputs = [values[part] for part in step.inputs]
        index: Tensor | None = None
        if step.op is Op.INPUT:
            value = z
        elif layer is not None:
            value = layer.apply(inputs[0], layer.weight, layer.bias)
        elif step.op is Op.NORM and step.module is not None:
            scale, shift = norm_scale(step.module)
            value = inputs[0] * scale[:, None, None] + shift[:, None, None]
        elif step.op is Op.MAX_POOL:
            value, index = step.run(inputs[0])
        else:
            value = _moved(step, inputs)
        values.append(value)
        indices.append(index)
    return Run(values, indices, layers)


def _moved(step: Step, inputs: Sequence[Tensor]) -> Tensor:
    """Run a step without weights, and name it where it would mix the images of a batch."""
    try:
        value: Tensor = step.run(*inputs)
    except ValueError as error:
        raise ValueError(f"no rule for {step.name}(): {error}; take a gradient method.") from error
    return value


def bend(op: Op, z: Tensor, beta: float | None) -> Tensor:
    """Return the slope at ``z`` of relu or ReLU6, or with β of the surrogate that stands for it.

    Args:
        op: RELU or RELU6.
        z: values before the activation.
        beta: of :func:`~lightning_advinterp.networks.smoothing.smoothed_relu`; None outside of it.
    """
    slope = (z > 0).to(z.dtype) if beta is None else torch.sigmoid(beta * z)
    return slope - bend(Op.RELU, z - 6, beta) if op is Op.RELU6 else slope


def transpose_of(function: Callable[..., Any], like: Tensor, r: Tensor) -> Tensor:
    """Return fᵀ r of a linear function without weights (pooling, flattening), of the shape of ``like``."""
    with torch.enable_grad():
        point = like.new_zeros((len(r), *like.shape[1:])).requires_grad_()
        (back,) = torch.autograd.grad(function(point), point, r, create_graph=r.requires_grad)
    return back


def shared(r: Tensor, like: Tensor) -> Tensor:
    """Return what an input of a sum gets of ``r``: of one that was broadcast, what all its copies get together."""
    return r if r.shape[1:] == like.shape[1:] else r.sum_to_size(len(r), *like.shape[1:])


def split_channels(r: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Undo a concatenation of channels."""
    parts: tuple[Tensor, ...] = torch.split(r, [value.shape[1] for value in like], dim=1)
    return parts


def gather_places(x: Tensor, index: Tensor) -> Tensor:
    """Return the values of ``[B, C, H, W]`` at flat places ``[B, C, h, w]``."""
    return x.flatten(2).gather(2, index.flatten(2)).view_as(index)


def scatter_places(r: Tensor, index: Tensor, like: Tensor) -> Tensor:
    """Add values ``[B, C, h, w]`` into zeros ``[B, C, H, W]`` at flat places: what was read twice gets both."""
    flat = r.new_zeros((*r.shape[:2], like.shape[2] * like.shape[3]))
    return flat.scatter_add(2, index.flatten(2), r.flatten(2)).view(*r.shape[:2], *like.shape[2:])


def backward(program: Program, start: Tensor, rule: Callable[[int, Step, Tensor], tuple[Tensor, ...]]) -> Tensor:
    """Propagate from the logits to the image: every step hands to its inputs what the rule makes of what it got.

    Args:
        program: the steps.
        start: ``[B, K]``.
        rule: from a step's number, the step, and what it got, to one tensor for each of its inputs.
    """
    gradients: dict[int, Tensor] = {len(program.steps) - 1: start}
    for number in range(len(program.steps) - 1, 0, -1):
        step, r = program.steps[number], gradients.pop(number)
        for part, value in zip(step.inputs, rule(number, step, r), strict=True):
            gradients[part] = gradients[part] + value if part in gradients else value
    return gradients[0]
