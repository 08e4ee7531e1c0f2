"""A network as a list of steps, each with the module that it belongs to: what propagation rules are defined on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import fx, nn

from lightning_advinterp.explanations.operations import Op, function_operation, inputs_of, is_norm, module_operation
from lightning_advinterp.explanations.refusal import without_rule
from lightning_advinterp.explanations.shapes import is_size
from lightning_advinterp.networks.parts import Place
from lightning_advinterp.networks.sites import Site, SiteTable
from lightning_advinterp.networks.timm_layers import activation_of_norm
from lightning_advinterp.networks.trace import Trace, called_names, operation_name, output_node, trace_network


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        op: its kind.
        name: the module's path, or the function's name.
        inputs: numbers of the steps that it reads.
        run: from the inputs' values to its own; a LINEAR or NORM step is run by
            :mod:`~lightning_advinterp.explanations.linear`; a MAX_POOL step returns indices too.
        module: the module, of a LINEAR or NORM step.
        norm: the BatchNorm folded into it.
        positive: whether its value cannot be negative.
    """

    op: Op
    name: str
    inputs: tuple[int, ...] = ()
    run: Callable[..., Any] = field(default=torch.clone, repr=False)
    module: nn.Module | None = None
    norm: nn.Module | None = None
    positive: bool = False


@dataclass(frozen=True)
class Program:
    """A network's steps in order of computation; step 0 is the normalised image, the last one the logits.

    Attributes:
        steps: the steps.
        modules: every module that the steps use, by path.
        hooks: numbers of the hooks that could change what the network computes.
        results: number of the step that computes what a module's call returns, by ``path`` or, of a module that is
            called several times, ``path#call``; with ``:input`` behind it of what the module is called with.
    """

    steps: tuple[Step, ...]
    modules: dict[str, nn.Module]
    hooks: frozenset[int]
    results: Mapping[str, int] = field(default_factory=dict)


_PROGRAMS: "WeakKeyDictionary[nn.Module, Program]" = WeakKeyDictionary()


def program_of(body: nn.Module, method: str) -> Program:
    """Return the steps of a network, from a symbolic trace remembered while its modules and hooks stay the same.

    A trace does not see everything; see :func:`~lightning_advinterp.explanations.verification.verified_program`.

    Args:
        body: from normalised images to logits.
        method: the explanation's name, for messages.

    Raises:
        ValueError: naming the module or function for which there are no rules, or if the network cannot be traced, or
            is inside of a block that replaces or ablates layers.
    """
    for hook in body._forward_pre_hooks.values():
        if isinstance(hook, SiteTable) and any(site.edits for site in hook.sites.values()):
            raise ValueError(
                f"{method} propagates through the network's own layers; leave the block that changes them."
            )
    program, hooks = _PROGRAMS.get(body), _hooks(body)
    if (
        program is None
        or program.hooks != hooks
        or any(_at(body, path) is not part for path, part in program.modules.items())
    ):
        try:
            trace = trace_network(body)
        except Exception as error:  # data-dependent control flow shows in many kinds of error
            raise ValueError(
                f"{method} needs to follow the network's computation, and {type(body).__name__} cannot be traced "
                f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); take a gradient method."
            ) from error
        program = _Compiler(trace, method).program(hooks)
        _PROGRAMS[body] = program
    return program


def program_until(program: Program, place: Place, method: str) -> Program:
    """Return the first steps of a network, of which the last computes what is read at a place.

    Args:
        program: of the whole network.
        place: of a module's output or first input.
        method: the explanation's name, for messages.

    Raises:
        ValueError: if no step computes it.
    """
    calls = called_names(program.results, place)
    if not calls or not place.whole:
        raise ValueError(
            f"{method}: no step of the network computes what is read at {place.path}; name another layer, or take "
            "gradient."
        )
    number = program.results[calls[max(calls)]]
    *before, last = program.steps[: number + 1]
    if last.norm is not None and place.side == "output" and last.name == place.path:  # read before the BatchNorm
        last = replace(last, norm=None)
    return replace(program, steps=(*before, last))


def _hooks(body: nn.Module) -> frozenset[int]:
    """Return the numbers, unique in a process, of all forward hooks but those that only read."""
    return frozenset(
        number
        for module in body.modules()
        for hooks in (module._forward_pre_hooks, module._forward_hooks)
        for number, hook in hooks.items()
        if not isinstance(hook, SiteTable) and not (isinstance(hook, Site) and not hook.edits)
    )


def _at(body: nn.Module, path: str) -> nn.Module | None:
    try:
        return body.get_submodule(path)
    except AttributeError:
        return None


class _Compiler:
    def __init__(self, trace: Trace, method: str) -> None:
        self.trace, self.method = trace, method
        self.steps: list[Step] = []
        self.number: dict[fx.Node, int] = {}
        self.modules: dict[str, nn.Module] = {}

    def program(self, hooks: frozenset[int]) -> Program:
        end = output_node(self.trace.traced)
        needed = _needed(end)
        for node in self.trace.traced.nodes:
            if node in needed and node not in self.number and not is_size(node):
                self._add(node)
        last = self.number[end]
        if last != len(self.steps) - 1:
            raise ValueError(f"{self.method}: the logits are not what the network computes last ({end}).")
        return Program(tuple(self.steps), self.modules, hooks, self._results())

    def _results(self) -> dict[str, int]:
        results: dict[str, int] = {}
        for node, names in self.trace.results.items():
            if node in self.number:
                results |= dict.fromkeys(names, self.number[node])
        for name, (node, _) in self.trace.inputs.items():
            if node in self.number:
                results[f"{name}:input"] = self.number[node]
        return results

    def _add(self, node: fx.Node) -> None:
        step = self._step(node)
        norm = _own_norm(node, self.trace) if step.op is Op.LINEAR else None
        if norm is not None:
            follower = _present(self.trace.module(norm))
            step = Step(step.op, step.name, step.inputs, step.run, step.module, follower)
            self.modules[str(norm.target)] = follower
        self.number[node] = len(self.steps)
        self.steps.append(step)
        last = node if norm is None else norm
        self._activate(last)
        self.number[last] = len(self.steps) - 1

    def _activate(self, node: fx.Node) -> None:
        """Add the activation with which a module ends that is a BatchNorm first."""
        activation = activation_of_norm(self.trace.module(node))
        operation = None if activation is None else module_operation(activation)
        if activation is not None and operation is not None:
            op, run = operation
            name = f"{node.target}.act"
            self.modules[name] = activation
            positive = op in (Op.RELU, Op.RELU6)
            self.steps.append(Step(op, name, (len(self.steps) - 1,), run, None, None, positive))

    def _step(self, node: fx.Node) -> Step:
        if node.op == "placeholder":
            return Step(Op.INPUT, "the image")
        inputs = tuple(self.number[part] for part in inputs_of(node) if part in self.number)
        module = self.trace.module(node)
        name = str(node.target) if module is not None else operation_name(node) or str(node.target)
        operation = module_operation(module) if module is not None else function_operation(node, name)
        if operation is None or not inputs or (len(inputs) > 1 and operation[0] not in (Op.SUM, Op.CONCAT)):
            raise ValueError(
                f"{self.method} has no rule for {without_rule(self.trace, node)}. It works on networks of "
                "convolutions, linear layers, BatchNorm, relu, ReLU6, pooling, sums and concatenations (AlexNet, VGG, "
                "ResNet, SqueezeNet, Inception, MobileNetV2, …); take attnlrp or a gradient method for others."
            )
        op, run = operation
        if module is not None:
            self.modules[name] = module
        kept = op in (Op.AVERAGE, Op.SELECT, Op.MAX_POOL, Op.SUM, Op.CONCAT)
        positive = op in (Op.RELU, Op.RELU6) or (kept and all(self.steps[part].positive for part in inputs))
        return Step(op, name, inputs, run, module if op in (Op.LINEAR, Op.NORM) else None, None, positive)


def _present(module: nn.Module | None) -> nn.Module:
    if module is None:
        raise RuntimeError("a traced module call has no module")
    return module


def _needed(end: fx.Node) -> set[fx.Node]:
    needed, waiting = set(), [end]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    return needed


def _own_norm(node: fx.Node, trace: Trace) -> fx.Node | None:
    """Return the BatchNorm that alone reads a convolution."""
    users = list(node.users)
    if len(users) != 1 or not isinstance(trace.module(node), nn.Conv2d):
        return None
    norm = trace.module(users[0])
    return users[0] if norm is not None and is_norm(norm) else None
