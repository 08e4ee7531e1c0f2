"""What a network computes that propagation has no rule for, in words that its user knows."""

from torch import fx, nn

from lightning_advinterp.explanations.operations import module_operation
from lightning_advinterp.networks.timm_layers import activation_of_norm
from lightning_advinterp.networks.trace import Trace, ancestors, operation_name, output_node

_ATTENTION = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})
_SHOWN = 3


def without_rule(trace: Trace, node: fx.Node) -> str:
    """Return what to call that which has no rule: layers first, since a user knows these by name.

    Args:
        trace: of the network.
        node: the first operation without a rule; it is named where all layers have rules.

    Returns:
        One layer of each class that has none (``layer blocks.0.norm1 (LayerNorm)``) and the attention, or the function
        and the layer that calls it, or the network's own tensor.
    """
    needed = ancestors(output_node(trace.traced))
    layers: dict[str, str] = {}
    for candidate in trace.traced.nodes:
        module = trace.module(candidate)
        if candidate in needed and module is not None and module_operation(module) is None:
            layers.setdefault(_class_of(module), f"layer {candidate.target} ({_class_of(module)})")
        elif candidate in needed and operation_name(candidate) in _ATTENTION:
            layers.setdefault("attention", f"the attention of {_layer_of(trace, candidate)}")
    if layers:
        shown = list(layers.values())
        return ", ".join(shown[:_SHOWN]) + (", …" if len(shown) > _SHOWN else "")
    if node.op == "get_attr":
        return f"the network's own tensor {node.target}, which does not come from the image"
    return f"{operation_name(node)}() in {_layer_of(trace, node)}"


def _class_of(module: nn.Module) -> str:
    """Return a module's class, and why an ordinary one has no rule."""
    activation = activation_of_norm(module)
    if activation is not None:
        return f"{type(module).__name__} with {type(activation).__name__}"
    batchwise = isinstance(module, nn.BatchNorm2d) and module.running_mean is None
    return type(module).__name__ + (" without running statistics" if batchwise else "")


def _layer_of(trace: Trace, node: fx.Node) -> str:
    """Return the innermost module in whose call a node is computed."""
    around = [(len(nodes), path) for path, (_, nodes) in trace.inputs.items() if node in nodes and path]
    return f"layer {min(around)[1]}" if around else "the network itself"
