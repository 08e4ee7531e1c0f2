"""PatternAttribution."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.linear import (
    backward,
    bend,
    norm_scale,
    run,
    scatter_places,
    shared,
    split_channels,
    transpose_of,
)
from lightning_advinterp.explanations.operations import Op
from lightning_advinterp.explanations.patterns import Patterns, pattern_program
from lightning_advinterp.explanations.program import Step
from lightning_advinterp.explanations.question import Question, pick
from lightning_advinterp.networks.smoothing import active_beta


class PatternAttribution(Method):
    """The backward pass of the gradient with w ⊙ a for every w (Kindermans et al. 2018), from the logit z_c.

    relu passes on where its input is above 0 (times σ(βz) where softplus stands for it), a max-pool to its winner. As
    of a gradient, every branch of a sum gets all of what the sum got, and every part of a concatenation its part. A
    BatchNorm of its own, whose pattern is 1/w, hands on what it got.

    Args:
        patterns: the a, or the file that holds them; see
            :func:`~lightning_advinterp.explanations.patterns.learn_patterns`.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    def __init__(self, patterns: Patterns | str | Path, **common: Any) -> None:
        super().__init__(**{"name": "pattern_attribution"} | common)
        self._patterns = patterns if isinstance(patterns, Patterns) else Patterns.load(patterns)

    def signed(self, question: Question) -> Tensor:
        """Return the attribution."""
        program = pattern_program(question.body, question.z)
        beta = active_beta()
        with torch.set_grad_enabled(question.create_graph):
            activations = run(program, question.z)

            def rule(number: int, step: Step, r: Tensor) -> tuple[Tensor, ...]:
                inputs = [activations.values[part] for part in step.inputs]
                a, layer, index = inputs[0], activations.layers[number], activations.indices[number]
                if layer is not None:
                    return (layer.transpose(a, r, self._patterns.of(step.name, layer)),)
                if step.op is Op.RELU:
                    return (r * bend(step.op, a, beta),)
                if index is not None:
                    return (scatter_places(r, index, a),)
                if step.op is Op.SUM:
                    return tuple(shared(r, value) for value in inputs)
                if step.op is Op.CONCAT:
                    return split_channels(r, inputs)
                if step.op is Op.NORM and step.module is not None:
                    return (r * (norm_scale(step.module)[0] != 0)[:, None, None],)
                return (transpose_of(step.run, a, r),)

            logits = activations.values[-1]
            value = pick(logits, question.target, "logit")
            start = torch.zeros_like(logits).scatter(1, question.target[:, None], value[:, None])
            return backward(program, start, rule)
