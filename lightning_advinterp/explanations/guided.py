"""Guided backpropagation: a gradient of which every relu passes on the positive part alone."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.gradients import Space
from lightning_advinterp.explanations.question import Output, Question, check_output, pick
from lightning_advinterp.networks.smoothing import active_beta, relu_call, softplus
from lightning_advinterp.networks.trace import function_name

_LINEAR = frozenset(
    (
        *(
            "conv2d",
            "linear",
            "batch_norm",
            "max_pool2d",
            "boolean_dispatch",
            "_max_pool2d",
            "avg_pool2d",
            "adaptive_avg_pool2d",
        ),
        *(
            "add",
            "add_",
            "__add__",
            "iadd",
            "__iadd__",
            "sub",
            "__sub__",
            "cat",
            "concat",
            "mean",
            "sum",
            "dropout",
            "pad",
            "clone",
            "contiguous",
        ),
        *(
            "flatten",
            "view",
            "reshape",
            "permute",
            "transpose",
            "squeeze",
            "unsqueeze",
            "chunk",
            "split",
            "size",
            "dim",
            "_assert",
            "__get__",
            "__getitem__",
            "getitem",
        ),
    )
)
"""Functions beside relu that a guided second derivative is right for: linear in pieces, or only looking."""


class GuidedBackprop(Method):
    """The backward pass R ← max(R, 0)·[z > 0] at every relu of input z (Springenberg et al. 2015).

    Where softplus stands for relu it is R ← softplus_β(R)·σ(βz) (Dombrowski et al. 2019). relu is met wherever it is
    called, in modules and in functions; other activations pass on their ordinary gradients.

    The derivative of the map needs the true derivatives of the z. With ``create_graph`` an extra forward pass notes
    them; it is refused for networks with operations that bend otherwise than by relu and max-pooling.

    Args:
        output: what is explained.
        start: what the backward pass starts with, ``one``, or the ``value`` of the output, as in Dombrowski's code; it
            matters where softplus stands for relu.
        space: ``normalised`` or ``pixel``, as for the gradient.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    own_pass = True

    def __init__(
        self,
        *,
        output: Output = "logit",
        start: Literal["one", "value"] = "one",
        space: Space = "normalised",
        **common: Any,
    ) -> None:
        super().__init__(**{"name": "guided_backprop"} | common)
        for argument, value, choices in (
            ("start", start, ("one", "value")),
            ("space", space, ("normalised", "pixel")),
        ):
            if value not in choices:
                raise ValueError(f"{argument} must be {' or '.join(choices)}, got {value!r}.")
        self.output, self.start, self.space = check_output(output), start, space

    def passes(self, size: int = 224, *, derivative: bool = False) -> tuple[int, int]:
        """See :class:`~lightning_advinterp.explanations.explanation.Method`; a derivative takes two forwards."""
        return (2, 4) if derivative else (1, 1)

    def signed(self, question: Question) -> Tensor:
        """Return the guided gradient."""
        true: list[Tensor] | None = None
        score: Tensor | None = None
        if question.create_graph:
            z = question.leaf()
            with _Recording() as recording:
                logits = question.logits(z)
            true, score = recording.inputs, pick(logits, question.target, self.output)
        z = question.z.detach().requires_grad_()
        with _Guided(true) as guided:
            logits = question.logits(z)
        if not guided.calls:
            raise ValueError(
                f"guided backpropagation is defined by relu, which {type(question.body).__name__} never calls; "
                "take the gradient."
            )
        value = pick(logits, question.target, self.output)
        start = torch.ones_like(value) if self.start == "one" else (value.detach() if score is None else score)
        gradient = question.gradient(value, z, start)
        return gradient / question.std if self.space == "pixel" else gradient


class _Recording(TorchFunctionMode):
    """Notes the inputs of all calls of relu, and refuses what bends otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        call = relu_call(func, args, kwargs)
        if call is not None:
            self.inputs.append(call[0].clone() if call[1] else call[0])
        elif (name := function_name(func)) not in _LINEAR:
            raise ValueError(
                f"guided backpropagation with create_graph: the network calls {name or func}, beside whose curvature "
                "the guided one cannot be told; it works on networks of linear operations, relu and max-pooling."
            )
        return func(*args, **kwargs)


class _Guided(TorchFunctionMode):
    """Replaces relu's backward pass; ``true`` are the inputs of its calls as parts of the true graph."""

    def __init__(self, true: list[Tensor] | None) -> None:
        super().__init__()
        self._true = true
        self.calls = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        call = relu_call(func, args, kwargs)
        if call is None:
            return func(*args, **kwargs)
        z, inplace = call
        gate = (z.clone() if inplace else z) if self._true is None else self._true[self.calls]
        self.calls += 1
        out = _GuidedRelu.apply(z, gate, active_beta())
        return z.copy_(out) if inplace else out


class _GuidedRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, gate: Tensor, beta: float | None) -> Tensor:
        ctx.save_for_backward(gate)
        ctx.beta = beta
        return z.clamp(min=0) if beta is None else softplus(z, beta)

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor, None, None]:
        (gate,) = ctx.saved_tensors
        (r,) = relevance
        if ctx.beta is None:
            return r.clamp(min=0) * (gate > 0), None, None
        return softplus(r, ctx.beta) * torch.sigmoid(ctx.beta * gate), None, None
