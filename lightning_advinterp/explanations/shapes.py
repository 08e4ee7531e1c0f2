"""What a traced network does to shapes: sizes that it asks for, and views that leave the images apart."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

_ARITHMETIC: tuple[Any, ...] = (operator.mul, operator.add, operator.sub, operator.floordiv)
RESHAPING = ("view", "reshape", "squeeze", "unsqueeze", "permute", "transpose", "swapaxes", "movedim")
"""Functions that move values without changing one."""


def is_size(node: fx.Node) -> bool:
    """Whether a node is a number that shapes are made of, and no tensor."""
    if node.op == "call_method":
        return node.target in ("size", "dim", "numel")
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    if node.target is operator.getitem or node.target in _ARITHMETIC:
        parts = node.all_input_nodes
        return bool(parts) and all(is_size(part) for part in parts)
    return False


def settled(argument: Any, of: fx.Node, x: Tensor) -> Any:
    """Return an argument with its sizes worked out.

    Args:
        argument: of a traced call; nodes in it are sizes.
        of: the tensor that the call works on.
        x: its value.

    Raises:
        ValueError: if a size is asked of another tensor, but for the number of images.
    """
    if isinstance(argument, list | tuple):
        return tuple(settled(part, of, x) for part in argument)
    if not isinstance(argument, fx.Node):
        return argument
    if argument.op == "call_method" or argument.target is getattr:
        source, *rest = argument.args
        what = argument.target if argument.op == "call_method" else rest[0]
        index = rest[0] if argument.op == "call_method" and rest else argument.kwargs.get("dim")
        if source is not of and not (what in ("size", "shape") and index == 0):
            raise ValueError(f"{argument} asks for the shape of another tensor")
        if what in ("dim", "ndim"):
            return x.dim()
        if what == "numel":
            return x.numel()
        return tuple(x.shape) if index is None else x.shape[index]  # type: ignore[index]  # an integer
    if argument.target is operator.getitem and argument.args[1] == 0:
        return len(x)  # of whatever tensor: they all hold the same images
    values = [settled(part, of, x) for part in argument.args]
    return argument.target(*values)  # type: ignore[operator]  # getitem and arithmetic


def reshaping(node: fx.Node, name: str) -> Callable[[Tensor], Tensor] | None:
    """Return what a call of :data:`RESHAPING` does to its tensor; None where it cannot be told.

    The function raises ValueError where images would not stay apart.
    """
    of, *rest = node.args
    if not isinstance(of, fx.Node) or any(isinstance(part, torch.dtype) for part in rest):
        return None
    options = dict(node.kwargs)

    def run(x: Tensor) -> Tensor:
        values = [settled(part, of, x) for part in rest]
        named = {key: settled(part, of, x) for key, part in options.items()}
        if name in ("view", "reshape"):
            return _reshaped(x, values, named)
        if name == "squeeze":
            return _squeezed(x, values, named)
        moved: Tensor = getattr(x, name)(*values, **named)
        # Marks tell where each image went, so that a batch of one is no exception.
        marks = torch.arange(x.dim() + 2)[: x.dim()] + 2
        marked = getattr(torch.empty(tuple(marks.tolist()), device="meta"), name)(*values, **named)
        if marked.shape[0] != 2:
            raise ValueError(f"{name}{tuple(values)} moves the images' axis")
        return moved

    return run


def _reshaped(x: Tensor, values: list[Any], named: dict[str, Any]) -> Tensor:
    shape = values or [named.get("shape", named.get("size"))]
    first, *rest = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    try:
        reshaped = x.reshape(first, *rest)
        apart = x.reshape(len(x), *rest)
    except RuntimeError as error:
        raise ValueError(f"a view as {(first, *rest)} does not leave the images apart") from error
    if reshaped.shape != apart.shape:
        raise ValueError(f"a view as {(first, *rest)} does not leave the images apart")
    return apart


def _squeezed(x: Tensor, values: list[Any], named: dict[str, Any]) -> Tensor:
    """Without axes all but the images' own, which is one where there is one image."""
    axes = values[0] if values else named.get("dim")
    every = range(1, x.dim()) if axes is None else (axes if isinstance(axes, tuple) else (axes,))
    chosen = tuple(axis % x.dim() for axis in every)
    if 0 in chosen:
        raise ValueError("squeeze takes the images' axis away")
    squeezed: Tensor = x.squeeze(chosen)
    return squeezed
