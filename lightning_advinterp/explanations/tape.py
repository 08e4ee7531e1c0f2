"""A forward pass as a list of its calls: what is propagated back through any network, attention included."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import map_aggregate

from lightning_advinterp.explanations.composed_attention import ComposedAttention
from lightning_advinterp.networks.trace import function_name


class Kind(Enum):
    """What a function does, as far as rules tell it apart."""

    LINEAR = auto()  # linear in what depends on the image, up to a constant; a max-pool, too, to its winners
    WEIGHTED = auto()  # a linear or convolutional layer
    PRODUCT = auto()  # linear in each of its inputs
    QUOTIENT = auto()  # linear in its numerator
    SOFTMAX = auto()
    ELEMENTWISE = auto()  # a function of each number by itself, 0 at 0
    NORM = auto()  # a centred or plain input divided by a statistic of it
    FACTOR = auto()  # a gate or a statistic: what others are multiplied with or divided by


@dataclass(frozen=True)
class Call:
    """One call of a function.

    Attributes:
        func: the function.
        name: of the function.
        kind: what it does.
        args: its arguments.
        kwargs: likewise.
        inputs: numbers of the values among the arguments that depend on the image, in their order.
        outputs: numbers of the values that it returned.
        in_place: whether it changes its first argument, of which it then got a copy.
    """

    func: Callable[..., Any]
    name: str
    kind: Kind
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    in_place: bool

    def run(self, points: Sequence[Tensor], active: Sequence[Tensor]) -> Any:
        """Call the function again with ``points`` in place of its ``active`` arguments, in their order."""
        identities, waiting = {id(value) for value in active}, list(points)

        def exchanged(argument: Any) -> Any:
            return waiting.pop(0) if isinstance(argument, Tensor) and id(argument) in identities else argument

        args, kwargs = map_aggregate(self.args, exchanged), map_aggregate(self.kwargs, exchanged)
        return _called(self.func, args, kwargs, self.in_place)


class Tape(ComposedAttention):
    """Notes every call whose arguments depend on the image.

    Operations in place work on copies, so that each value stays what it was; a network in which somebody reads a value
    that was changed in place then computes something else, which a comparison shows.

    Args:
        body: the network that runs inside :meth:`watching`.
        image: ``[B, C, H, W]``, value 0.
        method: the explanation's name, for messages.
        kinds: of the functions that there are rules for, by name.

    Attributes:
        values: every value that depends on the image, by its number.
        calls: in order of computation.
        factors: numbers of values that others are multiplied with or divided by, and that get no relevance.
    """

    def __init__(self, body: nn.Module, image: Tensor, method: str, kinds: Mapping[str, Kind]) -> None:
        super().__init__(body)
        self.method, self.kinds = method, kinds
        self.values: list[Tensor] = [image]
        self.calls: list[Call] = []
        self.factors: set[int] = set()
        self._numbers = {id(image): 0}

    def number(self, value: Tensor) -> int | None:
        """Return the number of a value; None where it does not depend on the image."""
        return self._numbers.get(id(value))

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a call and return what it returns.

        Raises:
            ValueError: naming function and module, where there is no rule.
        """
        inputs: list[int] = []

        def note(argument: Any) -> Any:
            number = self.number(argument) if isinstance(argument, Tensor) else None
            if number is not None:
                inputs.append(number)
            return argument

        copied = map_aggregate((args, kwargs), note)  # a copy, since a list may grow after the call (DenseNet)
        name = function_name(func) or str(func)
        if not inputs or name in CONSTANT:
            return func(*args, **kwargs)
        in_place = _works_in_place(name, args, kwargs)
        output = _called(func, args, kwargs, in_place)
        tensors = [part for part in (output if isinstance(output, tuple | list) else (output,)) if _is_value(part)]
        if not tensors:
            return output  # a size, a type, or a comparison
        kind = self._kind(name, args, kwargs, inputs)
        outputs = tuple(self._add(tensor, factor=kind is Kind.FACTOR) for tensor in tensors)
        self.calls.append(Call(func, name, kind, *copied, tuple(inputs), outputs, in_place))
        return output

    def _kind(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: list[int]) -> Kind:
        factors = [number in self.factors for number in inputs]
        if all(factors):
            return Kind.FACTOR
        kind = self.kinds.get(name)
        if kind is None:
            raise self._refusal(f"{name}()")
        if len(inputs) > 1 and (kind is Kind.WEIGHTED or name in ("batch_norm", "addcmul")):
            raise self._refusal(f"{name}() with weights made of the image")
        if name == "batch_norm" and (args[5] if len(args) > 5 else kwargs.get("training")):
            raise self._refusal(f"{name}() without running statistics")
        if any(factors) and kind not in (Kind.PRODUCT, Kind.QUOTIENT):
            raise self._refusal(f"{name}() of a gate or a statistic beside other values")
        numerator = self.number(args[0]) if args and isinstance(args[0], Tensor) else None
        if kind is Kind.QUOTIENT and (numerator is None or factors[0] or not all(factors[1:])):
            raise self._refusal(f"{name}() by what is no statistic")
        return kind

    def _refusal(self, what: str) -> ValueError:
        module = type(self.body.get_submodule(self.module)).__name__
        where = f"layer {self.module} ({module})" if self.module else module
        return ValueError(f"{self.method} has no rule for {what} in {where}; take a gradient method.")

    def _add(self, value: Tensor, *, factor: bool) -> int:
        number = len(self.values)
        self.values.append(value)
        self._numbers[id(value)] = number
        if factor:
            self.factors.add(number)
        return number


CONSTANT = frozenset(f"{new}{what}" for what in ("zeros", "ones", "full", "empty") for new in ("new_", "")) | frozenset(
    {"zeros_like", "ones_like", "full_like", "empty_like", "detach", "_assert"}
)
"""Functions whose output does not depend on the values of their input."""
_MAY_WORK_IN_PLACE = frozenset({"hardtanh", "leaky_relu", "elu", "celu", "selu", "relu", "relu6", "dropout", "silu"})


def _works_in_place(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call changes its first argument: ``add_``, ``+=``, or ``inplace=True``, also by its place."""
    if name.startswith("__i") and name not in ("__invert__", "__index__", "__int__"):
        return True
    if kwargs.get("inplace") or (name.endswith("_") and not name.endswith("__")):
        return True
    return name in _MAY_WORK_IN_PLACE and args[-1] is True and (name != "dropout" or len(args) == 4)


def _called(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], in_place: bool) -> Any:
    if in_place and args:
        args = (args[0].clone(), *args[1:])
    elif in_place:
        kwargs = kwargs | {"input": kwargs["input"].clone()}
    return func(*args, **kwargs)


def _is_value(output: Any) -> bool:
    return isinstance(output, Tensor) and output.is_floating_point()


Rule = Callable[[Tape, Call, Sequence[Tensor | None]], Sequence[Tensor | None]]
"""From a call and the multipliers of its outputs to those of its inputs; None is 0."""


def propagate(tape: Tape, end: Tensor, start: Tensor, rule: Rule) -> Tensor:
    """Return the multipliers of the image, from those of a value that depends on it.

    Args:
        tape: of the pass.
        end: the value, such as the logits ``[B, K]``.
        start: its multipliers, of the same shape.
        rule: what is done at each call.
    """
    number = tape.number(end)
    multipliers: dict[int, Tensor] = {} if number is None else {number: start}
    for call in reversed(tape.calls):
        outputs = [multipliers.pop(output, None) for output in call.outputs]
        if all(multiplier is None for multiplier in outputs):
            continue
        for part, value in zip(call.inputs, rule(tape, call, outputs), strict=True):
            if value is not None:
                multipliers[part] = multipliers[part] + value if part in multipliers else value
    return multipliers[0] if 0 in multipliers else torch.zeros_like(tape.values[0])


def pulled(tape: Tape, call: Call, multipliers: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Return Jᵀ m of a call: the rule whose multipliers are the gradient.

    Differentiable with respect to values, weights and multipliers where gradients are on.
    """
    graph, active = torch.is_grad_enabled(), [tape.values[number] for number in call.inputs]
    with torch.enable_grad():
        # a view is a place of its own in the graph, at which the derivative of this call alone can be taken
        points = [value.view_as(value) if graph else value.detach() for value in active]
        points = [point if point.requires_grad else point.requires_grad_() for point in points]
        output = call.run(points, active)
        outputs = [part for part in (output if isinstance(output, tuple | list) else (output,)) if _is_value(part)]
        pairs = [(part, m) for part, m in zip(outputs, multipliers, strict=True) if m is not None]
        return torch.autograd.grad(
            [part for part, _ in pairs], points, [m for _, m in pairs], create_graph=graph, allow_unused=True
        )
