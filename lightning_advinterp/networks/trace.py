"""A network's computation as a graph whose nodes know which module calls they are the results of."""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from torch import fx, nn

from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.parts import Place


class Trace(fx.Tracer):
    """A symbolic trace in eval mode that records the calls of all modules, leaves and containers alike.

    Leaves are PyTorch's own modules, modules without children, and what timm marks as untraceable.

    Args:
        backbone: the network; unchanged.
        enter: trace also through what timm marks, where it has a convolution inside.

    Attributes:
        results: for each node, the module calls that returned it, innermost first, as ``path`` where the
            module is called once in a pass, else ``path#call``.
        inputs: for each of these calls the node of the module's first input, and the nodes computed inside the call;
            calls without a node as first input are absent.
    """

    def __init__(self, backbone: nn.Module, *, enter: bool) -> None:
        self._marked, functions = _timm_marks(backbone)
        super().__init__(autowrap_functions=functions)
        self._enter = enter
        self._calls: Counter[str] = Counter()
        self._results: dict[fx.Node, list[tuple[str, int]]] = {}
        self._inputs: dict[tuple[str, int], tuple[fx.Node, frozenset[fx.Node]]] = {}
        with frozen_eval(backbone):
            self.traced: fx.Graph = self.trace(backbone)
        self.modules: dict[str, nn.Module] = dict(backbone.named_modules(remove_duplicate=False))
        self.results = {node: [self._name(*call) for call in calls] for node, calls in self._results.items()}
        self.inputs = {self._name(*call): entry for call, entry in self._inputs.items()}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """See the class."""
        if next(m.children(), None) is None:
            return True
        if isinstance(m, self._marked):
            return not (self._enter and has_convolution(m))
        return super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace a module's call and note which node it returns, and which it is called with."""
        path = self.path_of_module(m)
        call = self._calls[path]
        self._calls[path] += 1
        before = len(self.graph.nodes)
        output = super().call_module(m, forward, args, kwargs)
        if args and isinstance(args[0], fx.Proxy):
            inside = frozenset(islice(reversed(self.graph.nodes), len(self.graph.nodes) - before))
            self._inputs[path, call] = (args[0].node, inside)
        if isinstance(output, fx.Proxy):
            self._results.setdefault(output.node, []).append((path, call))
        return output

    def module(self, node: fx.Node) -> nn.Module | None:
        """Return the leaf module that a node calls."""
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def _name(self, path: str, call: int) -> str:
        return path if self._calls[path] == 1 else f"{path}#{call}"


def trace_network(backbone: nn.Module) -> Trace:
    """Trace a network as deep as it goes.

    Raises:
        Exception: of many kinds, if its way depends on its input's values.
    """
    try:
        return Trace(backbone, enter=True)
    except Exception:  # timm's marks are right about some blocks (VGG's last layers), not about all (NFNet's)
        return Trace(backbone, enter=False)


def has_convolution(module: nn.Module) -> bool:
    """Whether a module has a convolution inside, itself not counted."""
    return any(isinstance(part, nn.Conv2d) for part in module.modules() if part is not module)


def _timm_marks(backbone: nn.Module) -> tuple[tuple[type, ...], tuple[Callable[..., Any], ...]]:
    """Return the module classes and functions that timm declares untraceable, where a network has layers of timm."""
    if not any(type(module).__module__.startswith("timm.") for module in backbone.modules()):
        return (), ()
    from timm import layers

    get_notrace_modules: Callable[[], list[type]] = layers.get_notrace_modules  # type: ignore[attr-defined]
    get_notrace_functions: Callable[[], list[Any]] = layers.get_notrace_functions  # type: ignore[attr-defined]
    return tuple(get_notrace_modules()), tuple(get_notrace_functions())


def called_names(names: Iterable[str], place: Place) -> dict[int, str]:
    """Return the calls of a module that a place may mean, by their numbers.

    Args:
        names: ``path`` or ``path#call``, with ``:input`` behind it of inputs.
        place: whose path, call and side are meant; of any call, where it says none.
    """
    calls: dict[int, str] = {}
    for name in names:
        address, _, part = name.partition(":")
        path, _, call = address.partition("#")
        number = int(call or 0)
        if path == place.path and (part or "output") == place.side and place.call in (None, number):
            calls[number] = name
    return calls


def ancestors(node: fx.Node, stop: frozenset[fx.Node] = frozenset()) -> set[fx.Node]:
    """Return all nodes on which ``node`` depends, itself included, not going through ``stop``."""
    nodes: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current not in nodes and current not in stop:
            nodes.add(current)
            waiting.extend(current.all_input_nodes)
    return nodes


def output_node(graph: fx.Graph) -> fx.Node:
    """Return the node of the logits: the output, or the first part or ``logits`` of a structured one."""
    (value,) = next(node for node in graph.nodes if node.op == "output").args
    if isinstance(value, dict):
        value = value.get("logits", value.get("out"))
    while isinstance(value, tuple | list) and value:
        value = value[0]
    if not isinstance(value, fx.Node):
        raise ValueError(f"the traced network returns {type(value).__name__}, not logits.")
    return value


def reads_value(node: fx.Node) -> bool:
    """Whether a node computes with its input's values, not only with its shape or type."""
    if node.op == "call_method":
        return node.target not in ("size", "dim", "numel")
    if node.op == "call_function":
        name = function_name(node.target)
        return name not in ("getattr", "_assert", "len") and any(isinstance(a, fx.Node) for a in node.args)
    return True


def operation_name(node: fx.Node) -> str:
    """Return what a node calls: the name of a method or a function, or the path of a module."""
    return node.target if isinstance(node.target, str) else function_name(node.target)


def function_name(function: object) -> str:
    """Return what a function is called; empty for a callable without a name, such as a ``functools.partial``."""
    return str(getattr(function, "__name__", ""))
