"""The attack on influence functions of Ghorbani et al. 2019: a setting of the one loop."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import AttackResult
from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.step import Step
from lightning_advinterp.attacks.loop.threat import ThreatModel
from lightning_advinterp.explanations.influence import LastLayerInfluence
from lightning_advinterp.explanations.last_layer import penultimate
from lightning_advinterp.networks.network import Network


class InfluenceGoal(Goal):
    """The class whose loss is asked about, and what is known of the training images that speak for it.

    Attributes:
        directions: ``Σ_i H⁻¹ ∇_θ L(i)`` over the most influential ones, ``[B, K, F + 1]``.
    """

    directions: Tensor

    def reached(self, logits: Tensor) -> Tensor:
        """Whether the prediction is kept, bool ``[B]``."""
        return logits.argmax(dim=1) == self.resolve(logits)


class InfluenceAttack(GradientAttack):
    """Make the most influential training images count less: climb Σ_i I(i, t) over them.

    ``I(i, t) = −∇_θ L(t)ᵀ H⁻¹ ∇_θ L(i)``; the most influential images are those with the lowest I(i, t) at the image
    itself, whose weight lowers its loss most. One step of the sign is δ = ε·sign(∇_x Σ_i I(i, t)), the paper's
    −ε·sign(∇_x Σ_i ∇L(t)ᵀ H⁻¹ ∇L(i)); several steps climb on, with the same images i. The authors' code takes the three
    images one after the other, with a step in feature space for each, instead of the gradient of their sum.

    The prediction is not held: ``success`` says whether the layer's class was kept.

    Args:
        threat: the ball.
        step: how the gradient becomes a move.
        influence: of the last layer.
        top: so many images count.
        **settings: as in :class:`~lightning_advinterp.attacks.loop.gradient.GradientAttack`, without restarts, stopping
            and target. Labels ``y`` are classes of the influence's layer.
    """

    def __init__(
        self, threat: ThreatModel, step: Step, *, influence: LastLayerInfluence, top: int = 3, **settings: Any
    ) -> None:
        super().__init__(threat, step, **settings)
        if top < 1:
            raise ValueError(f"top must be 1 or more training images, got {top}.")
        if self.restarts > 1 or self.stop_after is not None or self.target is not None or self.label != "true":
            raise ValueError("an attack on influence takes true labels, and no restarts, stop_after or target.")
        self.influence, self.top = influence, top

    @property
    def takes_target(self) -> bool:
        """No."""
        return False

    def goal(self, y: Tensor | None, target: Tensor | None, keys: Tensor) -> Goal:
        """Return the question of one batch."""
        if target is not None:
            raise ValueError("an attack on influence has no target class; pass the classes as y.")
        return InfluenceGoal(y, None, label_rule=self.label, keys=keys)

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Find the most influential training images at ``x``, then climb."""
        goal, network = _checked(goal, network)
        with torch.no_grad():
            features = penultimate(network, x)
            values = self.influence.influence(features, goal.label)
            if self.top > values.shape[1]:
                raise ValueError(f"top must be at most the number of training images, {values.shape[1]}.")
            goal.directions = self.influence.directions(self.exemplars(values, goal.label, keys))
        return super().search(network, x, goal, keys, finish=finish)

    def exemplars(self, values: Tensor, y: Tensor, keys: Tensor) -> Tensor:
        """Return the places of the training images whose influence is changed, int64 ``[B, M]``.

        Args:
            values: I(i, t) at the images themselves, ``[B, N]``.
            y: int64 ``[B]``, classes of the layer.
            keys: int64 ``[B]``.
        """
        return values.argsort(dim=1, stable=True)[:, : self.top]

    def objective(self, network: nn.Module, x_adv: Tensor, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return what is climbed, ``[B]``, and the layer's logits."""
        goal, network = _checked(goal, network)
        features = penultimate(network, x_adv)
        return self.climbed(features, goal), self.influence.logits(features)

    def climbed(self, features: Tensor, goal: InfluenceGoal) -> Tensor:
        """Return the summed influence, ``[B]``, of features ``[B, F]``."""
        return self.influence.summed(features, goal.label, goal.directions)


def _checked(goal: Goal, network: nn.Module) -> tuple[InfluenceGoal, Network]:
    if not isinstance(goal, InfluenceGoal):
        raise TypeError("an attack on influence takes the goal that it made.")
    if not isinstance(network, Network):
        raise TypeError(
            f"an attack on influence needs a Network with a known last layer, got {type(network).__name__}."
        )
    return goal, network
