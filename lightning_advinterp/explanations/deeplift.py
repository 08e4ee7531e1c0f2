"""DeepLIFT with the Rescale rule."""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.linear import (
    Run,
    backward,
    bend,
    gather_places,
    norm_scale,
    run,
    scatter_places,
    shared,
    split_channels,
    transpose_of,
)
from lightning_advinterp.explanations.operations import Op
from lightning_advinterp.explanations.program import Step
from lightning_advinterp.explanations.question import Baseline, Question
from lightning_advinterp.explanations.verification import verified_program
from lightning_advinterp.networks.smoothing import active_beta


class DeepLift(Method):
    """m ⊙ (x − x̄), with multipliers m = Δout/Δin of every relu and ReLU6 (Shrikumar et al. 2017, Rescale rule).

    The attributions sum to z_c(x) − z_c(x̄). A max-pool hands a rise of its output to the winner at x, a fall to the
    winner at x̄, or to the one at x where x̄ has none, being constant in the window. With ``pool="winner"``, as in
    Ghorbani's code, m always goes to the winner at x, and the sum rule holds for constant references only. A change of
    units of the input does not change the result.

    Args:
        baseline: x̄, the reference; the mean image in Ghorbani's code. A tensor holds pixels in [0, 1].
        pool: ``complete`` or ``winner``.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    def __init__(
        self,
        *,
        baseline: Baseline | Tensor = "mean",
        pool: Literal["complete", "winner"] = "complete",
        **common: Any,
    ) -> None:
        super().__init__(**{"name": "deeplift"} | common)
        if pool not in ("complete", "winner"):
            raise ValueError(f"pool must be complete or winner, got {pool!r}.")
        self.baseline, self.pool = baseline, pool

    def map_passes(self, size: int) -> tuple[int, int]:
        """A forward pass of the image and of its reference, and one back."""
        return 2, 1

    def signed(self, question: Question) -> Tensor:
        """Return the attributions."""
        program = verified_program(question.body, self.name, question.z)
        with torch.set_grad_enabled(question.create_graph):
            start = question.baseline(self.baseline)
            at_image = run(program, question.z)
            back = run(program, start, at_image.layers)
            logits = at_image.values[-1]
            seed = torch.zeros_like(logits).scatter(1, question.target[:, None], 1.0)
            multipliers = backward(program, seed, _Rescale(at_image, back, self.pool == "winner"))
            return multipliers * (question.z - start)


class _Rescale:
    """The rule of one pair of runs, at the image and at the reference (whose batch may be 1)."""

    def __init__(self, at_image: Run, back: Run, winner: bool) -> None:
        self.there, self.back, self.winner = at_image, back, winner
        self.beta = active_beta()

    def __call__(self, number: int, step: Step, m: Tensor) -> tuple[Tensor, ...]:
        inputs = [self.there.values[part] for part in step.inputs]
        layer = self.there.layers[number]
        if layer is not None:
            return (layer.transpose(inputs[0], m),)
        if step.op is Op.NORM and step.module is not None:
            return (m * norm_scale(step.module)[0][:, None, None],)
        if step.op in (Op.RELU, Op.RELU6):
            return (m * self._secant(number, step),)
        if step.op is Op.MAX_POOL:
            return (self._pool(number, step, m),)
        if step.op is Op.SUM:
            return tuple(shared(m, value) for value in inputs)
        if step.op is Op.CONCAT:
            return split_channels(m, inputs)
        return (transpose_of(step.run, inputs[0], m),)

    def _secant(self, number: int, step: Step) -> Tensor:
        """Return Δout/Δin of a relu or ReLU6, and where Δin is tiny its slope."""
        z, z0 = self.there.values[step.inputs[0]], self.back.values[step.inputs[0]]
        delta, rise = z - z0, self.there.values[number] - self.back.values[number]
        if self.beta is None:  # rounding does no harm: the ratio is exactly 0 or 1 but where relu bends
            tiny, slope = delta.abs() < 1e-10, bend(step.op, z, None)
        else:
            tiny = delta.abs() < torch.finfo(z.dtype).eps ** (1 / 3) / self.beta
            slope = bend(step.op, (z + z0) / 2, self.beta)  # off by O((βΔ)²)
        return torch.where(tiny, slope, rise / torch.where(tiny, torch.ones_like(delta), delta))

    def _pool(self, number: int, step: Step, m: Tensor) -> Tensor:
        x, x0 = self.there.values[step.inputs[0]], self.back.values[step.inputs[0]]
        out, out0 = self.there.values[number], self.back.values[number]
        index, index0 = self.there.indices[number], self.back.indices[number]
        if index is None or index0 is None:
            raise RuntimeError(f"{step.name} has no indices")
        if self.winner:
            return scatter_places(m, index, x)
        x0, out0, index0 = x0.expand_as(x), out0.expand_as(out), index0.expand_as(index)
        above, below = (out - out0).clamp(min=0), (out - out0).clamp(max=0)
        # at the winner Δin is at least as large as the part of Δout that it explains
        at_winner = gather_places(x0, index)
        up, down = _ratio(above, out - at_winner), _ratio(below, gather_places(x, index0) - out0)
        # a reference that is constant in the window has no winner: then the one at x explains all of Δout
        tied = at_winner >= out0 - 8 * torch.finfo(out.dtype).eps * out0.abs()
        up, down = torch.where(tied, torch.ones_like(up), up), torch.where(tied, torch.zeros_like(down), down)
        return scatter_places(m * up, index, x) + scatter_places(m * down, index0, x)


def _ratio(part: Tensor, total: Tensor) -> Tensor:
    """Return part / whole; 0 where the part is."""
    none = part == 0
    return torch.where(none, torch.zeros_like(part), part / torch.where(none, torch.ones_like(total), total))
