"""Layer-wise relevance propagation."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.linear import (
    Affine,
    Run,
    backward,
    run,
    scatter_places,
    shared,
    split_channels,
    transpose_of,
)
from lightning_advinterp.explanations.operations import Op
from lightning_advinterp.explanations.program import Program, Step
from lightning_advinterp.explanations.question import Question, pick
from lightning_advinterp.explanations.verification import verified_program

Rule = Literal["alpha_beta", "epsilon", "gamma"]
First = Literal["z_b", "same"]
RULES: tuple[Rule, ...] = ("alpha_beta", "epsilon", "gamma")


class LRP(Method):
    """Relevance R flows from the logit z_c to the pixels, layer by layer (Bach et al. 2015, Montavon et al. 2019).

    With a a layer's input, W its weights (BatchNorm folded in), b its bias, ⁺ and ⁻ positive and negative parts:

    * ``alpha_beta``: R_i = Σ_j (α (a_i W_ij)⁺ / Σ(a W)⁺ − β (a_i W_ij)⁻ / Σ(a W)⁻) R_j, α − β = 1, without biases;
      α = 1, β = 0 is the z⁺ rule.
    * ``epsilon``: R_i = Σ_j a_i W_ij / (z_j + ε sign z_j) R_j, z = W a + b.
    * ``gamma``: the same with W + γ W⁺ and b + γ b⁺.
    * first layer, ``z_b``: R_i = Σ_j (x_i W_ij − l_i W_ij⁺ − h_i W_ij⁻) / Σ(…) R_j, without biases, l and h the
      normalised black and white of each channel, or of all of them (``bounds="image"``, as in Dombrowski's code).

    relu and ReLU6 pass R on, a max-pool to its winner, pooled averages in proportion to what they average,
    concatenations split R. A sum of branches shares R in proportion to them (``epsilon``), to their positive parts
    (``alpha_beta``), or to a + γ a⁺ (``gamma``). With z⁺ and z^B, for z_c > 0, relevance is never negative, and its
    sum is z_c where no layer has a bias.

    Defaults are those of Dombrowski's code, z⁺ and z^B, but for the bounds, which there are the image's.

    Args:
        rule: of convolutions.
        dense_rule: of linear layers; left out, the same.
        first: of the layer that sees the image, ``z_b``, or the ``same`` as others.
        alpha: α; β = α − 1.
        epsilon: ε.
        gamma: γ.
        bounds: ``channel`` or ``image``.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    def __init__(
        self,
        *,
        rule: Rule = "alpha_beta",
        dense_rule: Rule | None = None,
        first: First = "z_b",
        alpha: float = 1.0,
        epsilon: float = 1e-6,
        gamma: float = 0.25,
        bounds: Literal["channel", "image"] = "channel",
        **common: Any,
    ) -> None:
        super().__init__(**{"name": "lrp"} | common)
        for argument, value, choices in (
            ("rule", rule, RULES),
            ("dense_rule", dense_rule or rule, RULES),
            ("first", first, ("z_b", "same")),
            ("bounds", bounds, ("channel", "image")),
        ):
            if value not in choices:
                raise ValueError(f"{argument} must be one of {', '.join(choices)}, got {value!r}.")
        for argument, number, least in (("alpha", alpha, 1), ("epsilon", epsilon, 0), ("gamma", gamma, 0)):
            if not least <= number < float("inf"):
                raise ValueError(f"{argument} must be {least} or more, got {number}.")
        self.rule, self.dense_rule, self.first, self.bounds = rule, dense_rule or rule, first, bounds
        self.alpha, self.epsilon, self.gamma = alpha, epsilon, gamma

    def map_passes(self, size: int) -> tuple[int, int]:
        """A forward pass, one more of the weights that share R, and theirs back; with α > 1 both for either sign."""
        return (3, 2) if self.rule == "alpha_beta" and self.alpha > 1 else (2, 1)

    def signed(self, question: Question) -> Tensor:
        """Return the pixels' relevance."""

        def start(logits: Tensor) -> Tensor:
            value = pick(logits, question.target, "logit")
            return torch.zeros_like(logits).scatter(1, question.target[:, None], value[:, None])

        return self.relevance(question, verified_program(question.body, self.name, question.z), start)

    def relevance(self, question: Question, program: Program, start: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the pixels' relevance ``[B, C, H, W]``, from that of what a program computes last.

        Args:
            question: whose images are explained.
            program: the network's steps, or the first of them.
            start: from what the last step computes to relevance of the same shape.
        """
        with torch.set_grad_enabled(question.create_graph):
            activations = run(program, question.z)
            low, high = (
                question.normalise(torch.zeros_like(question.mean)),
                question.normalise(torch.ones_like(question.mean)),
            )
            if self.bounds == "image":
                low, high = low.min().expand_as(low), high.max().expand_as(high)
            rules = _Rules(self, activations, program.steps, low, high)
            return backward(program, start(activations.values[-1]), rules)


class _Rules:
    def __init__(self, lrp: LRP, activations: Run, steps: tuple[Step, ...], low: Tensor, high: Tensor) -> None:
        self.lrp, self.seen, self.steps, self.low, self.high = lrp, activations, steps, low, high

    def __call__(self, number: int, step: Step, r: Tensor) -> tuple[Tensor, ...]:
        inputs = [self.seen.values[part] for part in step.inputs]
        layer = self.seen.layers[number]
        if layer is not None:
            return (self._layer(step, layer, inputs[0], r),)
        if step.op in (Op.RELU, Op.RELU6):
            return (r,)
        if step.op is Op.MAX_POOL:
            index = self.seen.indices[number]
            if index is None:
                raise RuntimeError(f"{step.name} has no indices")
            return (scatter_places(r, index, inputs[0]),)
        if step.op is Op.CONCAT:
            return split_channels(r, inputs)
        if step.op is Op.SUM:
            return self._sum(inputs, r)
        if step.op is Op.SELECT:
            return (transpose_of(step.run, inputs[0], r),)
        if step.op is Op.AVERAGE:
            return (self._average(step, inputs[0], self.seen.values[number], r),)
        raise ValueError(
            f"{self.lrp.name} has no rule for layer {step.name} ({type(step.module).__name__}): a BatchNorm must "
            "follow a convolution that nothing else reads, to be folded in; take DeepLIFT or a gradient method."
        )

    def _layer(self, step: Step, layer: Affine, a: Tensor, r: Tensor) -> Tensor:
        if step.inputs == (0,) and self.lrp.first == "z_b":
            return self._z_b(layer, a, r)
        dense = isinstance(layer.module, torch.nn.Linear)
        rule = self.lrp.dense_rule if dense else self.lrp.rule
        positive = self.steps[step.inputs[0]].positive
        if rule == "alpha_beta":
            return self._alpha_beta(layer, a, r, positive)
        weight, bias = layer.weight, layer.bias
        if rule == "gamma":
            if not positive:
                raise ValueError(
                    f"{self.lrp.name}: the gamma rule is made for inputs that are not negative, which those of layer "
                    f"{step.name} can be; take epsilon or alpha_beta."
                )
            weight = weight + self.lrp.gamma * weight.clamp(min=0)
            bias = None if bias is None else bias + self.lrp.gamma * bias.clamp(min=0)
        z = layer.apply(a, weight, bias)
        return a * layer.transpose(a, _divide(r, z, self.lrp.epsilon), weight)

    def _z_b(self, layer: Affine, x: Tensor, r: Tensor) -> Tensor:
        up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
        low, high = self.low.expand_as(x[:1]), self.high.expand_as(x[:1])
        z = layer.apply(x) - layer.apply(low, up) - layer.apply(high, down)
        s = _divide(r, z)
        return x * layer.transpose(x, s) - low * layer.transpose(x, s, up) - high * layer.transpose(x, s, down)

    def _alpha_beta(self, layer: Affine, a: Tensor, r: Tensor, positive: bool) -> Tensor:
        alpha = self.lrp.alpha
        up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
        out = alpha * _signed_part(layer, a, r, up, down, positive)
        return out if alpha == 1 else out - (alpha - 1) * _signed_part(layer, a, r, down, up, positive)

    def _sum(self, inputs: list[Tensor], r: Tensor) -> tuple[Tensor, ...]:
        """Share R among branches; with α > 1 by z⁺ too, since branches that agree would multiply R by α."""
        stabiliser = 1e-9
        if self.lrp.rule == "alpha_beta":
            inputs = [value.clamp(min=0) for value in inputs]
        elif self.lrp.rule == "gamma":
            inputs = [value + self.lrp.gamma * value.clamp(min=0) for value in inputs]
        else:
            stabiliser = self.lrp.epsilon
        s = _divide(r, sum(inputs[1:], inputs[0]), stabiliser)
        return tuple(shared(value * s, value) for value in inputs)

    def _average(self, step: Step, a: Tensor, mean: Tensor, r: Tensor) -> Tensor:
        if self.lrp.rule == "alpha_beta" and not self.steps[step.inputs[0]].positive:
            raise ValueError(
                f"{self.lrp.name}: {step.name} averages values that can be negative, for which alpha_beta is not "
                "defined here; take epsilon."
            )
        return a * transpose_of(step.run, a, _divide(r, mean))


def _signed_part(layer: Affine, a: Tensor, r: Tensor, same: Tensor, opposite: Tensor, positive: bool) -> Tensor:
    """Share R among the contributions a·W of one sign: of W's ``same`` part with a⁺, its ``opposite`` part with a⁻."""
    if positive:
        return a * layer.transpose(a, _divide(r, layer.apply(a, same)), same)
    up, down = a.clamp(min=0), a.clamp(max=0)
    s = _divide(r, layer.apply(up, same) + layer.apply(down, opposite))
    return up * layer.transpose(a, s, same) + down * layer.transpose(a, s, opposite)


def _divide(r: Tensor, z: Tensor, stabiliser: float = 1e-9) -> Tensor:
    """Return r / (z + s·sign z); where z is 0 nothing contributed and nothing is given."""
    nothing = z == 0
    safe = torch.where(nothing, torch.ones_like(z), z + stabiliser * z.sign())
    return torch.where(nothing, torch.zeros_like(z), r / safe)
