"""Targeted FAB: step onto the linearised decision boundary, staying near the image (Croce & Hein 2020, FAB)."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.goal import full_precision, margin
from lightning_advinterp.attacks.loop.gradient_log import input_gradient
from lightning_advinterp.attacks.loop.mask import within_mask
from lightning_advinterp.attacks.loop.threat import Norm
from lightning_advinterp.attacks.prediction.apgd import TARGETS
from lightning_advinterp.attacks.prediction.hyperplane import project_onto_hyperplane
from lightning_advinterp.attacks.prediction.untargeted import (
    AdversarialImages,
    AttackedImages,
    Samples,
    UntargetedAttack,
    misclassified,
    remaining,
    remaining_targets,
)

ALPHA_MAX = 0.1
"""The largest share of the step from the image itself, which draws the point back towards it."""
ETA = 1.05
"""Overshoot beyond the boundary."""
BETA = 0.9
"""Where an adversarial point beyond ε is moved back to, as a share of its distance."""


@dataclass
class _Path(Samples):
    """The samples on their way; every tensor is ``[B, …]``: images, current points, classes, ε, places."""

    x: Tensor
    point: Tensor
    label: Tensor
    target: Tensor
    radius: Tensor
    index: Tensor


def boundary_step(x: Tensor, point: Tensor, difference: Tensor, gradient: Tensor, norm: Norm) -> Tensor:
    """Return the next point, ``[B, C, H, W]`` in [0, 1] (Algorithm 1, lines 5–10, for one target).

    Both the point and the image are projected onto the plane where the linearised difference of logits is 0; the
    nearer of the two counts more, and the image's share α = min(‖δ_point‖ / (‖δ_point‖ + ‖δ_image‖), α_max).

    Args:
        x: the images.
        point: where the differences are taken.
        difference: z_t − z_y, ``[B]``.
        gradient: of the difference at the point.
        norm: ``linf`` or ``l2``.
    """
    normal, start = gradient.flatten(1), point.flatten(1)
    offset = (normal * start).sum(dim=1) - difference
    both = torch.cat([start, x.flatten(1)])
    delta = project_onto_hyperplane(both, torch.cat([normal, normal]), torch.cat([offset, offset]), norm)
    length = (delta.abs().amax(dim=1) if norm == "linf" else delta.norm(dim=1)).clamp(min=1e-8)
    of_point, of_image = length.chunk(2)
    alpha = (of_point / (of_point + of_image)).clamp(max=ALPHA_MAX)[:, None, None, None]
    from_point, from_image = (part.view_as(x) for part in delta.chunk(2))
    return ((1 - alpha) * (point + ETA * from_point) + alpha * (x + ETA * from_image)).clamp(0, 1)


class FAB(UntargetedAttack):
    """Fast adaptive boundary attack towards each of the likeliest other classes.

    It looks for the nearest adversarial point, whatever ε is; here a sample leaves as soon as one is within its ε,
    and comes back unchanged where none is found. An iteration costs two forward passes and a backward pass to the
    input; one forward pass serves both uses where no point of the batch had to be moved back.

    Args:
        budget: the radius of the ball.
        steps: iterations towards each target.
        targets: how many classes, at most, are aimed at.
        **common: as in :class:`~lightning_advinterp.attacks.prediction.untargeted.UntargetedAttack`.
    """

    def __init__(self, budget: Budget, *, steps: int = 100, targets: int = TARGETS, **common: Any) -> None:
        super().__init__(budget, **common)
        for argument, number in (("steps", steps), ("targets", targets)):
            if number < 1:
                raise ValueError(f"{argument} must be 1 or more, got {number}.")
        self.steps, self.targets = steps, targets

    @property
    def takes_mask(self) -> bool:
        """Yes."""
        return True

    @property
    def passes(self) -> tuple[int, int]:
        """Two forward and one backward pass per iteration and target, and the clean forward pass."""
        return 1 + 2 * self.targets * self.steps, self.targets * self.steps

    @property
    def iterations(self) -> int:
        """Iterations towards one target."""
        return self.steps

    def hunt(self, network: nn.Module, attacked: AttackedImages) -> AdversarialImages:
        """Walk towards every target in turn; one run each, from the image itself (so without any random draw)."""
        adversarial = AdversarialImages.nothing(attacked)
        for _, places, target in remaining_targets(attacked, adversarial, self.targets):
            adversarial.put(places, self._walk(network, attacked.take(places), target))
        return adversarial

    def _walk(self, network: nn.Module, attacked: AttackedImages, target: Tensor) -> AdversarialImages:
        adversarial = AdversarialImages.nothing(attacked)
        index = torch.arange(len(attacked.x), device=attacked.x.device)
        path = _Path(attacked.x, attacked.x, attacked.label, target, attacked.radius, index)
        point = path.point.detach().requires_grad_()
        logits = network(point)
        for step in range(self.steps):
            difference, gradient = _difference(logits, point, path)
            gradient = within_mask(gradient, path.radius)
            gradient = attacked.log[path.index].note(difference, gradient)
            path.point = boundary_step(path.x, path.point, difference, gradient, self.norm)
            if path.radius.shape[2:] != (1, 1):  # projections also move values on which the plane does not depend
                path.point = torch.where(path.radius > 0, path.point, path.x)
            with torch.set_grad_enabled(step < self.steps - 1):
                point = path.point.detach().requires_grad_(step < self.steps - 1)
                logits = network(point)
            lost = misclassified(logits.detach(), path.label)
            near = lost & (self._distance(path.point - path.x) <= path.radius.amax(dim=(1, 2, 3)))
            margins = margin(logits.detach(), path.label)
            adversarial.put(path.index[near], AdversarialImages(path.point[near], near[near], margins[near]))
            if step == self.steps - 1 or bool(near.all()):
                break
            if bool(lost.any()):  # other points than those that the graph is of
                back = torch.where(lost[:, None, None, None], path.x + BETA * (path.point - path.x), path.point)
                path = replace(path, point=back).take(remaining(near))
                point = path.point.detach().requires_grad_()
                logits = network(point)
        return adversarial

    def _distance(self, delta: Tensor) -> Tensor:
        flat = delta.flatten(1)
        return flat.abs().amax(dim=1) if self.norm == "linf" else flat.norm(dim=1)


def _difference(logits: Tensor, point: Tensor, path: _Path) -> tuple[Tensor, Tensor]:
    """Return z_t − z_y, ``[B]``, and its gradient at the points."""
    rows = full_precision(logits)
    difference = (rows.gather(1, path.target[:, None]) - rows.gather(1, path.label[:, None])).squeeze(1)
    gradient = input_gradient(difference, point)
    return difference.detach().to(gradient.dtype), gradient
