"""How a loss changes from an image to its neighbour, pixel by pixel; and the attack that makes the change large."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.goal import Goal, cross_entropy
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.explanations.recomputation import recomputed_gradient
from lightning_advinterp.networks.attention import twice_differentiable_attention
from lightning_advinterp.networks.smoothing import smoothed_relu

PerSample = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Images ``[B, C, H, W]`` to their losses ``[B]`` and logits ``[B, K]``."""


def path_attributions(
    loss: PerSample,
    x: Tensor,
    x_adv: Tensor,
    *,
    steps: int,
    create_graph: bool = False,
    recompute: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Integrated gradients of a loss ℓ from x to x*: (x* − x) ⊙ 1/m Σ_{k=1..m} ∇ℓ(x + k/m (x* − x)).

    A right Riemann sum, as in the code of Chen et al. 2019: its last point is x* itself. The attributions sum to
    ℓ(x*) − ℓ(x) up to O(1/m).

    Args:
        loss: ℓ, with the logits beside it.
        x: ``[B, C, H, W]``.
        x_adv: x*, likewise.
        steps: m, each a forward pass and a backward pass to the input.
        create_graph: make the attributions differentiable with respect to x* and to the parameters that ask for it.
        recompute: with ``create_graph``, the parameters: one point's graph is kept at a time, and computed again in the
            backward pass, for a third more time; ``loss`` must bring the network's mode with it.

    Returns:
        Attributions ``[B, C, H, W]``; ℓ(x*) ``[B]`` and logits at x* ``[B, K]``, without a graph where it is computed
        again.

    Reference:
        Chen, Wu, Rastogi, Liang, Jha, Robust Attribution Regularization, 2019.
    """
    last: list[Tensor] = []

    def value(point: Tensor) -> Tensor:
        last[:] = loss(point)
        return last[0]

    with torch.enable_grad(), twice_differentiable_attention(create_graph):
        delta, total = x_adv - x, torch.zeros_like(x)
        for k in range(1, steps + 1):
            point = x + k / steps * delta
            if recompute is None:
                point = point if point.requires_grad else point.requires_grad_()
                (gradient,) = torch.autograd.grad(value(point).sum(), point, create_graph=create_graph)
            else:
                gradient = recomputed_gradient(value, point, recompute)
                last = [part.detach() for part in last]
            total = total + gradient
    return delta * total / steps, last[0], last[1]


class AttributionAttack(GradientAttack):
    """Climb ``w L(f(x*), y) + β ‖IG(x → x*)‖₁``: change how the pixels share in the loss (Chen et al. 2019).

    IG is that of the cross-entropy, see :func:`path_attributions`. A step costs ``path_steps`` forward passes, as many
    backward passes to the input, and as many through both, to the input.

    Args:
        like: threat model, step, number of steps and random start are this attack's.
        path_steps: m of the attributions.
        weight: β.
        loss_weight: w.
        softplus: β of the softplus that stands for relu; None for relu itself.
    """

    def __init__(
        self,
        like: GradientAttack,
        *,
        path_steps: int = 5,
        weight: float = 1.0,
        loss_weight: float = 0.0,
        softplus: float | None = None,
    ) -> None:
        settings: dict[str, Any] = {"label": like.label, "target": like.target, "bn": like.bn, "name": like.name}
        super().__init__(like.threat, like.step, steps=like.steps, random_start=like.random_start, **settings)
        self.path_steps, self.weight, self.loss_weight, self.softplus = path_steps, weight, loss_weight, softplus

    @property
    def passes(self) -> tuple[int, int]:
        """For every point of every step a forward pass, a backward pass, and one back through either."""
        points = self.steps * self.path_steps
        return points, 3 * points

    def objective(self, network: nn.Module, x_adv: Tensor, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return what is climbed, ``[B]``, and the logits at ``x_adv``."""

        def loss(points: Tensor) -> tuple[Tensor, Tensor]:
            logits = network(points)
            return cross_entropy(logits, goal.resolve(logits)), logits

        climbing = torch.is_grad_enabled() and x_adv.requires_grad
        with smoothed_relu(self.softplus):
            attributions, value, logits = path_attributions(
                loss, x, x_adv, steps=self.path_steps, create_graph=climbing
            )
        norm = attributions.abs().sum((1, 2, 3))
        return self.loss_weight * value + self.weight * norm, logits
