"""What modules and functions do, as far as propagation has rules for it."""

import operator
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from lightning_advinterp.explanations.shapes import RESHAPING, is_size, reshaping, settled
from lightning_advinterp.networks.timm_layers import activation_of_norm, is_same_convolution


class Op(Enum):
    """What a step does to its inputs."""

    INPUT = auto()
    LINEAR = auto()  # a convolution or linear layer, with the BatchNorm that follows it folded in
    NORM = auto()  # a BatchNorm without a layer of its own before it
    RELU = auto()
    RELU6 = auto()  # relu, cut off at 6
    MAX_POOL = auto()
    AVERAGE = auto()  # weighs its inputs without parameters, all weights positive
    SELECT = auto()  # every output is one of the inputs, or 0
    SUM = auto()
    CONCAT = auto()


def inputs_of(node: fx.Node) -> Sequence[fx.Node]:
    """Return the nodes that a node reads, as often as it reads them."""
    first = node.args[0] if node.args else None
    parts = first if isinstance(first, list | tuple) else node.args
    return [part for part in parts if isinstance(part, fx.Node)]


def _max_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    pooled: tuple[Tensor, Tensor] = F.max_pool2d(
        x, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode, return_indices=True
    )
    return pooled


def module_operation(module: nn.Module) -> tuple[Op, Callable[..., Any]] | None:
    """Return what a module does; exact classes, since a subclass may compute something else.

    A class of any network's own says by ``selects = True`` that each of its outputs is one of its inputs, or 0.
    """
    kind = type(module)
    if is_same_convolution(module):
        return Op.LINEAR, torch.clone
    if kind is nn.Conv2d and isinstance(module, nn.Conv2d):
        plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return (Op.LINEAR, torch.clone) if plain else None
    if kind is nn.Linear:
        return Op.LINEAR, torch.clone
    if is_norm(module):
        return Op.NORM, torch.clone
    if kind is nn.ReLU:
        return Op.RELU, F.relu
    if kind is nn.ReLU6:
        return Op.RELU6, F.relu6
    if kind is nn.MaxPool2d and isinstance(module, nn.MaxPool2d) and not module.return_indices:
        return Op.MAX_POOL, lambda x: _max_pool(
            x, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
        )
    if kind in (nn.AvgPool2d, nn.AdaptiveAvgPool2d):
        return Op.AVERAGE, module.forward
    if kind in (nn.Dropout, nn.Dropout2d, nn.Identity):
        return Op.SELECT, torch.clone
    if isinstance(module, nn.Flatten) and kind is nn.Flatten:
        return (Op.SELECT, module.forward) if module.start_dim else None
    if vars(kind).get("selects") is True:
        return Op.SELECT, module.forward
    return None


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a BatchNorm with running statistics, also one of timm that ends with an activation."""
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None:
        return False
    activation = activation_of_norm(module)
    return type(module) is nn.BatchNorm2d or (activation is not None and module_operation(activation) is not None)


_SUMS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
_FUNCTIONS: dict[str, Op] = {
    "relu": Op.RELU,
    "relu_": Op.RELU,
    "relu6": Op.RELU6,
    "max_pool2d": Op.MAX_POOL,
    "avg_pool2d": Op.AVERAGE,
    "adaptive_avg_pool2d": Op.AVERAGE,
    "mean": Op.AVERAGE,
    "flatten": Op.SELECT,
    "dropout": Op.SELECT,
    "contiguous": Op.SELECT,
    "clone": Op.SELECT,
}


def function_operation(node: fx.Node, name: str) -> tuple[Op, Callable[..., Any]] | None:
    """Return what a function or method does to its tensors."""
    parts = inputs_of(node)
    if node.target in _SUMS and len(parts) == len(node.args) == 2 and not node.kwargs:
        return Op.SUM, torch.add
    if node.target in (torch.cat, torch.concat) and len(parts) == len(node.all_input_nodes):
        along = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        return (Op.CONCAT, lambda *values: torch.cat(values, 1)) if along == 1 else None
    tensors = [part for part in parts if not is_size(part)]
    called = node.op in ("call_function", "call_method") and len(tensors) == 1 and tensors[0] is node.args[0]
    if called and name in RESHAPING:
        moved = reshaping(node, name)
        return None if moved is None else (Op.SELECT, moved)
    op = _FUNCTIONS.get(name)
    if op is None or not called or _mixes_images(node, name):
        return None
    rest: Any = node.args[1:]
    options: Any = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    if op in (Op.RELU, Op.RELU6):
        return op, F.relu if op is Op.RELU else F.relu6
    if name in ("dropout", "contiguous", "clone"):
        return op, torch.clone
    function, of = _CALLS[name], tensors[0]
    return op, lambda x: function(
        x, *settled(rest, of, x), **{key: settled(value, of, x) for key, value in options.items()}
    )


def _mixes_images(node: fx.Node, name: str) -> bool:
    """Whether a function joins the images of a batch."""
    if name == "flatten":
        return bool(node.kwargs.get("start_dim", node.args[1] if len(node.args) > 1 else 0) == 0)
    if name == "mean":
        axes: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        return axes is None or 0 in (axes if isinstance(axes, list | tuple) else (axes,))
    return False


_CALLS: dict[str, Callable[..., Any]] = {
    "max_pool2d": _max_pool,
    "avg_pool2d": F.avg_pool2d,
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d,
    "mean": torch.mean,
    "flatten": torch.flatten,
}
