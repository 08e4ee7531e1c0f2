"""A walk along the level set of a score, on which the bound on the gradient's turning can be checked.

Dombrowski et al. 2019, Theorem 1: along the level set S = {g = c} the normal n = ∇g/‖∇g‖, which the normalised gradient
map shows, turns by ‖n(p) − n(p₀)‖ ≤ |λ| · d(p, p₀), with λ the principal curvature of S of largest magnitude on the way
and d the length of the way. Call these inside :func:`~lightning_advinterp.networks.smoothing.smoothed_relu`: the level
set of a network of ReLU is flat but for its kinks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_advinterp.metrics.hessian import Hessian, Score, largest_eigenvalue

CORRECTIONS = 3
"""Newton steps back to the level set after every step along the tangent."""


@dataclass(frozen=True)
class Waypoint:
    """Where a walk has come to.

    Attributes:
        x: ``[B, C, H, W]``.
        distance: d, the length of the way so far: the sum of the straight steps, ``[B]``.
        turn: ‖n(p) − n(p₀)‖₂, ``[B]``.
        principal: largest magnitude of a principal curvature at any waypoint so far, ``[B]``.
        drift: g(p) − g(p₀), by which the walk has left the level set, ``[B]``.
    """

    x: Tensor
    distance: Tensor
    turn: Tensor
    principal: Tensor
    drift: Tensor

    @property
    def bound(self) -> Tensor:
        """|λ| d, which the turn must not exceed but for the steps' finite length, ``[B]``."""
        return self.principal * self.distance


def walk(
    score: Score, x: Tensor, direction: Tensor, keys: Tensor, *, step: float, steps: int, lanczos: int
) -> Iterator[Waypoint]:
    """Go along the level set of the score through each image, as straight as it lets one.

    A step goes along the tangent; Newton's method along the gradient leads back to the level set; the next tangent is
    the last step's direction without what it has along the new normal. For steps that become short this is a geodesic:
    it turns with the level set alone.

    Costs for each step ``2 + CORRECTIONS`` forward and backward passes and ``lanczos + 1`` products with the Hessian.

    Args:
        score: g, twice differentiable, image by image.
        x: p₀, ``[B, C, H, W]``.
        direction: ``[B, D]``, its part along the normal is taken off.
        keys: int64 ``[B]``, for the start vectors of Lanczos' method.
        step: length of a step, in the 2-norm over all pixels.
        steps: number of steps.
        lanczos: dimension of the Krylov space for the curvature.

    Yields:
        The place after every step. Numbers are NaN from where a gradient or tangent vanishes: there is no level set.
    """
    hessian = Hessian(score, x)
    level, start = hessian.value, _unit(hessian.gradient)
    origin = place = x.detach().flatten(1)
    tangent = _unit(_across(direction.to(start), start))
    principal = largest_eigenvalue(hessian.level_set(), origin, keys, steps=lanczos).value.abs()
    distance = torch.zeros_like(level)
    for _ in range(steps):
        goal = _back_to(level, score, place + step * tangent, x.shape)
        lost = ~goal.isfinite().all(dim=1)
        goal = torch.where(lost[:, None], origin, goal)  # so that the numbers of the others can be made
        moved = goal - place
        distance, place = (distance + moved.norm(dim=1)).masked_fill(lost, torch.nan), goal
        hessian = Hessian(score, place.view_as(x))
        normal = _unit(hessian.gradient)
        tangent = _unit(_across(moved, normal)).masked_fill(lost[:, None], torch.nan)
        curvature = largest_eigenvalue(hessian.level_set(), origin, keys, steps=lanczos).value.abs()
        principal = torch.maximum(principal, curvature)
        turn, drift = (normal - start).norm(dim=1), hessian.value - level
        yield Waypoint(place.view_as(x), distance, turn.masked_fill(lost, torch.nan), principal, drift)


def _back_to(level: Tensor, score: Score, place: Tensor, shape: torch.Size) -> Tensor:
    """Return the places to which Newton's method along the gradient leads, ``[B, D]``."""
    for _ in range(CORRECTIONS):
        value, gradient = _value_and_gradient(score, place.view(shape))
        place = place - (value - level)[:, None] * gradient / gradient.square().sum(1, keepdim=True)
    return place


def _unit(vectors: Tensor) -> Tensor:
    """Return vectors of length 1, NaN for those of length 0."""
    unit: Tensor = vectors / vectors.norm(dim=1, keepdim=True)
    return unit


def _across(vectors: Tensor, normal: Tensor) -> Tensor:
    """Return what vectors have across a normal of length 1."""
    along: Tensor = (vectors * normal).sum(1, keepdim=True) * normal
    return vectors - along


def _value_and_gradient(score: Score, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = score(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient.flatten(1)
