"""What lies behind a layer: a network's logits from changed activations, without what comes before being run again."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from lightning_advinterp.networks.linear_head import linear_head
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.taps import taps
from lightning_advinterp.networks.trace import (
    Trace,
    ancestors,
    called_names,
    operation_name,
    output_node,
    reads_value,
    trace_network,
)

logger = logging.getLogger(__name__)

_CLOSE = 1e-3
"""Logits of the parts may differ from those of the whole by so much of the largest: a rounding, no other way."""


@dataclass
class Begun:
    """A batch that has passed a layer.

    Attributes:
        x: the images.
        activation: what the layer returned, ``[B, ...]``.
        logits: of the whole pass, ``[B, K]``.
        full_output: the tensor that the layer is a part of, where it is only that.
        carried: what else the rest of the network reads, such as the way around a block.
    """

    x: Tensor
    activation: Tensor
    logits: Tensor
    full_output: Tensor | None = None
    carried: Mapping[fx.Node, Any] = field(default_factory=dict)


class Behind:
    """The rest of a network behind a layer.

    The network is traced once. :meth:`begin` runs it whole and keeps what the rest reads: the layer's output, and in a
    residual network, for a layer inside a block, the way around it. :meth:`logits` computes the rest alone. Where a
    network cannot be traced, or its parts do not give what the whole gives, every call runs the whole network with the
    layer's output exchanged: the same numbers for more work, and a log line says so.

    Args:
        network: in evaluation mode whenever this is used.
        layer: a path in the backbone, ``path#0``, ``path:part``, ``phi`` or ``penultimate``.

    Attributes:
        traced: whether the rest is run alone.

    Raises:
        ValueError: if the layer is unknown or the logits do not depend on it.
    """

    def __init__(self, network: Network, layer: str) -> None:
        network.check([layer])
        self.network, self.layer, self._place = network, layer, network.place(layer)
        self.traced, self._checked = False, False
        try:
            trace = trace_network(network.backbone)
            self._lay_out(trace)
        except _Unreached:
            raise ValueError(
                f"layer {layer!r} of {network.name} does not lead to the logits: nothing that it returns can change a "
                "prediction; name a layer of the main path."
            ) from None
        except Exception as error:  # data-dependent control flow shows in many kinds of error
            self._fall_back(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")

    def _lay_out(self, trace: Trace) -> None:
        graph = trace.traced
        self._graph, self._output = graph, output_node(graph)
        self._tap = _exchangeable_node(trace, self.network, self.layer)
        needed = ancestors(self._output)
        behind: set[fx.Node] = {self._tap}
        for node in graph.nodes:  # in the order of computation
            if node in needed and any(part in behind for part in node.all_input_nodes):
                behind.add(node)
        if len(behind) == 1:
            raise _Unreached
        self._behind = [node for node in graph.nodes if node in behind and node is not self._tap]
        self._before = [node for node in graph.nodes if node in needed and node not in behind]
        input_nodes = {part for node in self._behind for part in node.all_input_nodes}
        self._carried = [node for node in self._before if node in input_nodes]
        self._of_images = _depending_on_input(graph)
        self._overwritten = {node for node in self._carried if any(works_in_place(user, node) for user in node.users)}
        self._module = fx.GraphModule(self.network.backbone, graph)
        self._uses = _last_uses(self._behind)
        self.traced = True

    def _fall_back(self, reason: str) -> None:
        self.traced, self._checked = False, True
        logger.warning(
            "%s cannot be run from %s on (%s): every ablation runs the whole network.",
            self.network.name,
            self.layer,
            reason,
        )

    @property
    def linear(self) -> nn.Linear | None:
        """The head, where nothing but a mean over all places and one linear layer lies behind; else None."""
        if not self.traced or not self._place.whole:
            return None
        return linear_head(self._behind, self._tap, self._module)

    def begin(self, x: Tensor) -> Begun:
        """Run the network on images ``[B, 3, H, W]``, and keep what the rest needs; no gradient is recorded."""
        with torch.no_grad(), frozen_eval(self.network):
            if not self._checked:
                self._check(x)
            if self.traced:
                return self._begin_traced(x)
            logits, features = self.network.forward_features(x, [self.layer])
            return Begun(x, features[self.layer].clone(), logits)

    def _begin_traced(self, x: Tensor) -> Begun:
        runner = _Nodes(self._module)
        start = self.network.normalize(x)
        for node in [*self._before, self._tap]:
            runner.compute(node, start)
        output = runner.env[self._tap].clone()  # what follows may work in place
        carried = {node: _kept(runner.env[node], node in self._overwritten) for node in self._carried}
        for node in self._behind:
            runner.compute(node, start)
        logits = runner.env[self._output]
        return Begun(x, self._place.take(output), logits, None if self._place.whole else output, carried)

    def _check(self, x: Tensor) -> None:
        """See that the parts give what the whole gives: a trace follows one way, and values may depend on a batch."""
        self._checked = True
        full_logits = self.network.eager_logits(x)
        try:
            begun = self._begin_traced(x)
            count = len(x) + 1  # another number of images
            apart = self.logits(begun, 0, torch.cat([begun.activation[:1]] * count))
            pairs = ((begun.logits, full_logits), (apart, full_logits[:1].expand(count, -1)))
            difference = max(float((logits - expected).abs().nan_to_num().max()) for logits, expected in pairs)
        except Exception as error:  # a constant of the trace that no longer fits shows in many kinds of error
            self._fall_back(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
            return
        if difference > _CLOSE * max(float(full_logits.abs().nan_to_num().max()), 1.0):
            self._fall_back(f"its parts give other logits, by {difference:.2g}")

    def logits(self, begun: Begun, image: int, activation: Tensor) -> Tensor:
        """Return the logits that the rest of the network makes of other activations of one image.

        Args:
            begun: from :meth:`begin`.
            image: its place in the batch, for what the rest reads beside the layer.
            activation: ``[n, ...]``, n versions of the layer's output. It may be overwritten where the network works in
                place; its version counter tells.

        Returns:
            ``[n, K]``, part of the activation's graph.
        """
        if not self.traced:
            with taps(self.network, replace={self.layer: activation}):
                return self.network.eager_logits(begun.x[image : image + 1].expand(len(activation), -1, -1, -1))
        runner = _Nodes(self._module)
        if begun.full_output is not None:
            output = begun.full_output[image : image + 1]
            activation = self._place.put(output.expand(len(activation), *output.shape[1:]), activation)
        runner.env[self._tap] = activation
        for node in self._carried:
            value = begun.carried[node]
            if node in self._of_images and isinstance(value, Tensor) and len(value) == len(begun.x):
                value = value[image : image + 1].expand(len(activation), *value.shape[1:])
                value = value.clone() if node in self._overwritten else value
            runner.env[node] = value
        for node in self._behind:
            runner.compute(node, None)
            for done in self._uses[node]:
                if done is not self._output:
                    runner.env.pop(done, None)
        logits: Tensor = runner.env[self._output]
        return logits


class _Unreached(Exception):
    """The logits do not depend on the layer."""


class _Nodes(fx.Interpreter):
    """Computes single nodes of a graph."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.env: dict[fx.Node, Any] = {}

    def compute(self, node: fx.Node, start: Tensor | None) -> None:
        """Compute a node; of the network's arguments the first is the images, others have their defaults."""
        if node.op != "placeholder":
            self.env[node] = self.run_node(node)
        elif any(earlier.op == "placeholder" for earlier in self.env):
            self.env[node] = node.args[0] if node.args else None
        else:
            self.env[node] = start


def tap_node(trace: Trace, network: Network, layer: str) -> fx.Node:
    """Return the node whose value is a layer's, as :meth:`Network.forward_features` reads it; of a part the whole.

    Raises:
        LookupError: if no single node is.
    """
    call, node = _result(trace, network, layer)
    if network.place(layer).side == "output":
        return node
    return _input(trace, call)[0]


def _result(trace: Trace, network: Network, layer: str) -> tuple[str, fx.Node]:
    """Return the module's call that a layer's name means, and the node that it returns."""
    if layer == "logits":  # they may be computed from what the last layer returns
        raise LookupError("no operation of a trace is called logits")
    reference = network.place(layer)
    nodes: dict[str, fx.Node] = {}
    for node, names in trace.results.items():
        nodes |= dict.fromkeys(names, node)
    calls = called_names(nodes, replace(reference, side="output"))
    if not calls:
        raise LookupError(f"no operation of its trace returns {layer}")
    name = calls[max(calls)]
    return name, nodes[name]


def _input(trace: Trace, call: str) -> tuple[fx.Node, frozenset[fx.Node]]:
    """Return the first input of a module's call, and the nodes inside it."""
    if call not in trace.inputs:
        raise LookupError(f"no operation of its trace is the input of {call}")
    return trace.inputs[call]


def _exchangeable_node(trace: Trace, network: Network, layer: str) -> fx.Node:
    """Return the node of :func:`tap_node`, whose value may be exchanged for the layer alone.

    Raises:
        LookupError: if no single node is, or operations outside a module read what it is called with.
    """
    node = tap_node(trace, network, layer)
    if network.place(layer).side == "input":
        inside = _input(trace, _result(trace, network, layer)[0])[1]
        if any(user not in inside and reads_value(user) for user in node.users):
            raise LookupError(f"what {layer} names is read outside the module, too")
    return node


def works_in_place(user: fx.Node, node: fx.Node) -> bool:
    """Whether an operation may overwrite its first input, and that is the node."""
    if not user.args or user.args[0] is not node:
        return False
    name = operation_name(user)
    if user.op == "call_module":
        module = user.graph.owning_module
        part = module.get_submodule(str(user.target)) if module is not None else None
        return getattr(part, "inplace", False) is True
    if user.op == "call_function":
        return name in ("iadd", "isub", "imul", "itruediv") or name.endswith("_") or bool(user.kwargs.get("inplace"))
    return user.op == "call_method" and name.endswith("_") and not name.endswith("__")


def _kept(value: Any, overwritten: bool) -> Any:
    return value.clone() if overwritten and isinstance(value, Tensor) else value


def _depending_on_input(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes whose values have one entry for each image: parameters have other sizes."""
    dependent: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(part in dependent for part in node.all_input_nodes):
            dependent.add(node)
    return dependent


def _last_uses(nodes: list[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """Return for every node the values that nobody reads after it."""
    last: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        for part in node.all_input_nodes:
            last[part] = node
    uses: dict[fx.Node, list[fx.Node]] = {node: [] for node in nodes}
    for part, node in last.items():
        uses[node].append(part)
    return uses
