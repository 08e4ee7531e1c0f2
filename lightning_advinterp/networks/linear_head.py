"""A classifier's head of the simplest kind, a mean over all places and a linear layer: its logits have closed forms."""

from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from lightning_advinterp.networks.trace import operation_name


def linear_head(behind: Sequence[fx.Node], tap: fx.Node, root: nn.Module) -> nn.Linear | None:
    """Return the last layer, where nothing but a mean over all places and that layer, which is linear, lies behind.

    Flattening and dropout on the way, in any order, change nothing in evaluation.

    Args:
        behind: the nodes behind a layer, in the order of computation.
        tap: the layer's node.
        root: whose modules the nodes call.

    Returns:
        The layer; None where something else lies behind.
    """
    node, pooled = tap, False
    for following in behind:
        if following.op == "output":
            break
        if following.all_input_nodes != [node]:
            return None
        module = root.get_submodule(str(following.target)) if following.op == "call_module" else None
        if isinstance(module, nn.Linear):
            return module if pooled and following is behind[-1 - (behind[-1].op == "output")] else None
        mean = _is_mean(following, module)
        if not mean and not _passes_on(following, module):
            return None
        node, pooled = following, pooled or mean
    return None


def _is_mean(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether an operation is the mean over both axes of places."""
    if module is not None:
        return isinstance(module, nn.AdaptiveAvgPool2d) and _one_place(module.output_size)
    name = operation_name(node)
    axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("output_size"))
    if name == "adaptive_avg_pool2d":
        return _one_place(axes)
    return name == "mean" and isinstance(axes, tuple | list) and {int(str(axis)) % 4 for axis in axes} == {2, 3}


def _one_place(size: Any) -> bool:
    return size == 1 or (isinstance(size, tuple | list) and list(size) == [1, 1])


def _passes_on(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether an operation changes no number of a vector: flattening after the mean, dropout in evaluation."""
    if module is not None:
        if isinstance(module, nn.Flatten):
            return module.start_dim == 1
        return isinstance(module, nn.Dropout | nn.Dropout2d | nn.Identity)
    name = operation_name(node)
    if name == "flatten":
        start = node.args[1] if len(node.args) > 1 else node.kwargs.get("start_dim", 0)
        return bool(start == 1)
    return name == "dropout"
