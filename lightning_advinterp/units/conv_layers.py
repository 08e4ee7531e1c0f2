"""The convolutional units of a network: which layers have them, and where each response is read."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

from torch import fx, nn

from lightning_advinterp.networks.taps import backbone_of
from lightning_advinterp.networks.trace import Trace, ancestors, output_node, reads_value, trace_network
from lightning_advinterp.units.operations import Kind, classify, is_rectified

logger = logging.getLogger(__name__)

_ENDS = (Kind.ACTIVATION, Kind.NORM_ACTIVATION)
_NORMS = (Kind.NORM, Kind.NORM_ACTIVATION)
_PASSED = (Kind.ACTIVATION, Kind.ADD, Kind.IDENTITY, Kind.MAX_POOL)


class ConvTap(NamedTuple):
    """One convolution and the place where its response is used.

    Attributes:
        layer: the convolution's path.
        channels: its output channels, the units.
        tap: what is read, a layer name for ``forward_features`` and ``taps``.
        signed: whether the tap can be negative by construction, that is, it is not the output of a ReLU.
    """

    layer: str
    channels: int
    tap: str
    signed: bool


def conv_taps(network: nn.Module) -> list[ConvTap]:
    """List the convolutions of the main path in order of computation, with the places where they are read.

    A response is read after the convolution's own normalisation and the activation that follows it. Where a
    shortcut is added before that activation, it is read after it, as the block's output. Without an
    activation (linear bottlenecks of MobileNetV2, pre-activation networks, ConvNeXt) it is read after its own
    normalisation, else as the convolution returns it.

    Not counted: the projection of a shortcut, that is, of two branches that meet in a sum the one with fewer
    convolutions in a row, if it has no activation; the gates of squeeze-and-excitation; auxiliary heads; and
    convolutions after the global pooling, which are linear layers in another form.

    A result that only a function returns (``F.relu``) is read at the module that returns it; where none does,
    before that function. The network's computation is followed by a symbolic trace. If it cannot be traced,
    every ``Conv2d`` is listed as it returns, signed, in the order of ``named_modules()``, and a log line says
    so.

    Args:
        network: a :class:`~lightning_advinterp.networks.network.Network`, or a bare backbone; unchanged.
    """
    backbone = backbone_of(network)
    try:
        path = _MainPath(trace_network(backbone))
    except Exception as error:  # data-dependent control flow shows in many kinds of error
        logger.warning(
            "%s cannot be traced (%s: %s): its convolutions are read as they return.",
            type(backbone).__name__,
            type(error).__name__,
            str(error).partition("\n")[0],
        )
        return [
            ConvTap(name, module.out_channels, name, signed=True)
            for name, module in backbone.named_modules()
            if isinstance(module, nn.Conv2d)
        ]
    return [path.tap(node) for node in path.convolutions()]


class _MainPath:
    """The nodes of a trace that lead to the logits, without gates and shortcut projections."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.nodes = ancestors(output_node(trace.traced))
        self.order = {node: place for place, node in enumerate(trace.traced.nodes)}
        self.kinds = {node: classify(node, trace.module(node)) for node in trace.traced.nodes}
        self.gates = self._gate_nodes()
        self.projections = self._projection_nodes()
        pools = [node for node in self.nodes - self.gates if self.kinds[node] is Kind.GLOBAL_POOL]
        self.pools = frozenset(pools)

    def convolutions(self) -> Iterator[fx.Node]:
        for node in self.trace.traced.nodes:
            counted = node in self.nodes and self.kinds[node] is Kind.CONV
            if counted and node not in self.gates and node not in self.projections and not self._after_pooling(node):
                yield node

    def _after_pooling(self, node: fx.Node) -> bool:
        return bool(ancestors(node, frozenset(self.gates)) & self.pools)

    def _branches(self, kind: Kind) -> Iterator[tuple[set[fx.Node], set[fx.Node]]]:
        """For each sum or product of two computed parts: the nodes that each part alone depends on."""
        for node in self.nodes:
            parts = [part for part in dict.fromkeys(node.all_input_nodes) if self.kinds[part] is not Kind.CONSTANT]
            if self.kinds[node] is kind and len(parts) == 2:
                first, second = ancestors(parts[0]), ancestors(parts[1])
                yield first - second, second - first

    def _gate_nodes(self) -> set[fx.Node]:
        """Squeeze-and-excitation: of the two factors of a product, the one that pools over all places."""
        gates: set[fx.Node] = set()
        for branches in self._branches(Kind.MUL):
            pooled = [branch for branch in branches if any(self.kinds[node] is Kind.GLOBAL_POOL for node in branch)]
            if len(pooled) == 1:
                gates |= pooled[0]
        return gates

    def _projection_nodes(self) -> set[fx.Node]:
        projections: set[fx.Node] = set()
        for branches in self._branches(Kind.ADD):
            short, long = sorted(branches, key=self._depth)
            linear = not any(self.kinds[node] in _ENDS for node in short)
            if linear and 0 < self._depth(short) < self._depth(long):
                projections |= short
        return projections

    def _depth(self, nodes: set[fx.Node]) -> int:
        """Return the number of convolutions on the longest way through ``nodes``."""
        depth: dict[fx.Node, int] = {}
        for node in sorted(nodes, key=self.order.__getitem__):
            before = max((depth[part] for part in node.all_input_nodes if part in depth), default=0)
            depth[node] = before + (self.kinds[node] is Kind.CONV and node not in self.gates)
        return max(depth.values(), default=0)

    def tap(self, conv: fx.Node) -> ConvTap:
        """Follow a convolution's response to where it is used."""
        module = self.trace.module(conv)
        read, name = conv, self._address(conv, after_sum=False)
        node, summed, pooled = conv, False, False
        while (following := self._only_user(node)) is not None:
            kind = self.kinds[following]
            own = not summed and not pooled
            if not self._continues(following, kind, summed):
                break
            node = following
            summed, pooled = summed or kind is Kind.ADD, pooled or kind is Kind.MAX_POOL
            settled = kind in _ENDS or (kind is Kind.NORM and own)
            address = self._address(node, after_sum=summed) if settled else None
            if address is not None:
                read, name = node, address
            if kind in _ENDS:
                break
        channels = module.out_channels if isinstance(module, nn.Conv2d) else 0
        signed = not is_rectified(read, self.trace.module(read))
        return ConvTap(str(conv.target), channels, name or str(conv.target), signed)

    def _continues(self, node: fx.Node, kind: Kind, summed: bool) -> bool:
        """Whether a response goes on through ``node``; a norm after a sum belongs to what comes next."""
        if kind is Kind.MUL:
            return self._scales(node)
        return kind in _PASSED or (kind in _NORMS and not summed)

    def _only_user(self, node: fx.Node) -> fx.Node | None:
        users = [user for user in node.users if reads_value(user) and user not in self.gates and user in self.nodes]
        return users[0] if len(users) == 1 else None

    def _scales(self, node: fx.Node) -> bool:
        """Whether a product multiplies by a gate or by a parameter, not by another response."""
        others = [part for part in node.all_input_nodes if self.kinds[part] is not Kind.CONSTANT]
        return len([part for part in others if part not in self.gates]) <= 1

    def _address(self, node: fx.Node, *, after_sum: bool) -> str | None:
        """Return a name under which a node's value can be read.

        A module that is called once has its own name. A result that a function returns, or a module that is
        called several times, or that comes after a sum, is named after the innermost block that returns it.
        """
        names = self.trace.results.get(node, [])
        own = names[:1] if node.op == "call_module" else []
        around = names[len(own) :]
        once = [name for name in around if "#" not in name]
        order = [*once, *own, *around] if after_sum else [*own, *once, *around]
        return order[0] if order else None
