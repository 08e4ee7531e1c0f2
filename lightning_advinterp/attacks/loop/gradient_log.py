"""What gradients an attack met: where they are exactly zero it cannot work, and where they are not finite either."""

import torch
from torch import Tensor


def input_gradient(value: Tensor, x: Tensor, *, retain_graph: bool = False) -> Tensor:
    """Return ∂ Σ ``value`` / ∂ ``x``: zero where the value does not depend on the image at all.

    Args:
        value: ``[B]``.
        x: the leaf ``[B, …]``.
        retain_graph: keep the graph for another backward pass.
    """
    if not value.requires_grad:
        return torch.zeros_like(x)
    gradient: Tensor
    (gradient,) = torch.autograd.grad(
        value.sum(), x, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
    )
    return gradient


class GradientLog:
    """Notes for the samples of a batch, without waiting for the device.

    ``log[indices]`` is a view of some samples, int64 ``[b]``: what it notes stands in the whole.

    Args:
        count: number of samples.
        device: where they are.
    """

    def __init__(self, count: int, device: torch.device | None = None) -> None:
        self._seen, self._moved, self._nonfinite = (
            torch.zeros(count, dtype=torch.bool, device=device) for _ in range(3)
        )
        self._places = torch.arange(count, device=device)

    def __getitem__(self, indices: Tensor) -> "GradientLog":
        view = GradientLog.__new__(GradientLog)
        view._seen, view._moved, view._nonfinite = self._seen, self._moved, self._nonfinite
        view._places = self._places[indices]
        return view

    def note(self, value: Tensor, gradient: Tensor, *, where: Tensor | None = None) -> Tensor:
        """Note a step, and return its gradient with 0 for NaN, so that no image is lost to a step.

        Args:
            value: what was climbed, ``[b]``.
            gradient: ``[b, …]``.
            where: bool ``[b]``, samples that wanted a gradient; None: all.
        """
        size = torch.linalg.vector_norm(gradient, float("inf"), dim=tuple(range(1, gradient.dim())))
        self._note(self._seen, torch.ones_like(size, dtype=torch.bool) if where is None else where)
        self._note(self._moved, size > 0)
        self.note_value(value + size)
        return gradient.nan_to_num(nan=0.0)

    def note_value(self, value: Tensor) -> None:
        """Note where ``[b]`` is not finite."""
        self._note(self._nonfinite, ~value.detach().isfinite())

    def _note(self, notes: Tensor, places: Tensor) -> None:
        notes[self._places] = notes[self._places] | places

    @property
    def zero(self) -> Tensor:
        """Whether a sample's gradients were exactly zero at every step, bool ``[B]``; never where none was taken."""
        return self._seen & ~self._moved & ~self._nonfinite

    @property
    def nonfinite(self) -> Tensor:
        """Whether the objective or its gradient was NaN or infinite at a step, bool ``[B]``."""
        return self._nonfinite
