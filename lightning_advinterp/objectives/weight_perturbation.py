"""Adversarial weight perturbation (Wu, Xia & Wang 2020): a loss that is flat in the weights generalises."""

from collections.abc import Mapping

import torch
import torch.distributed
from torch import Tensor, nn
from torch.func import functional_call

from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.compiled import compiled
from lightning_advinterp.networks.modes import BatchNormMode, attack_mode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.objectives.adversarial import Madry
from lightning_advinterp.objectives.extended import Based, agreed, not_negative
from lightning_advinterp.objectives.neighbour import NeighbourObjective
from lightning_advinterp.objectives.objective import Loss, Objective


def perturbations(weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], gamma: float) -> dict[str, Tensor]:
    """Return v_l = γ ‖w_l‖ g_l / ‖g_l‖ of every layer (Eq. 9 of the paper, one step), zero where the gradient is.

    Args:
        weights: name to w_l.
        gradients: name to g_l, of the same shape.
        gamma: γ, the size of a perturbation relative to its layer's weights.
    """
    scaled = {}
    for name, weight in weights.items():
        gradient, norm = gradients[name], gradients[name].norm()
        scaled[name] = gamma * weight.norm() * gradient / torch.where(norm > 0, norm, torch.ones_like(norm))
    return scaled


class _LossOf(nn.Module):
    """A loss as a module's output, so that ``functional_call`` can put other weights into its network."""

    def __init__(self, network: Network, objective: NeighbourObjective) -> None:
        super().__init__()
        self.network, self._objective = network, objective

    def forward(self, batch: Batch, x_adv: Tensor) -> Loss:
        return self._objective.loss_at(self.network, batch, x_adv)


class AWP(Based):
    """The base's loss at weights that were moved to make it larger: ``L(w + v)``, v = γ ‖w_l‖ g_l / ‖g_l‖.

    x* is made once, on the weights themselves; then v by one step on the base's loss at x*, and the loss and its
    gradient at w + v, which moves w. It stands on any base that makes neighbours first: Madry, Fast, Trades, Mart,
    and Consistency. The weights themselves never change within a step, so nothing is to be put back.

    Adds to the base what its loss costs without the attack: 1 standard step to Madry, 2 to Trades, Mart and Consistency
    (whose FGSM then takes a forward pass of its own, 1/3 more).

    Weights of at least two dimensions are perturbed, as in the authors' code. Each process's gradient is averaged over
    all, so that every process moves the weights alike. Departures: the pass for v has no dropout (the authors' copy of
    the network has) and updates no statistics; as there it sees the batch's, but with ``bn: frozen``. Both passes are
    eager.

    Args:
        gamma: γ; 0.005 for TRADES, 0.01 for plain adversarial training in the authors' scripts.
        base: the objective; Madry with PGD by default.
        warmup_epochs: epochs without perturbation at the start.
        bn: BatchNorm's statistics; the base's, and left out it is that.

    Reference:
        Wu, Xia, Wang, Adversarial Weight Perturbation Helps Robust Generalization, 2020, Algorithm 1 (its layer-wise
        step as in the authors' code, from memory).
    """

    def __init__(
        self,
        gamma: float = 0.01,
        base: Objective | None = None,
        warmup_epochs: int = 0,
        bn: BatchNormMode | None = None,
    ) -> None:
        super().__init__(agreed(bn, base))
        if warmup_epochs < 0:
            raise ValueError(f"warmup_epochs must be 0 or more, got {warmup_epochs}.")
        base = base or Madry(AttackConfig("pgd", "8/255", steps=10, step_size="2/255"), bn=self.bn)
        if not isinstance(base, NeighbourObjective):
            raise ValueError(
                f"base: AWP takes an objective that makes adversarial images first, of which it takes the loss before "
                f"and after the weights move (Madry, Fast, Trades, Mart, Consistency), got {type(base).__name__}. "
                f"Terms such as GradAlign's go around AWP, not into it."
            )
        self.base: NeighbourObjective = base
        self.gamma, self.warmup_epochs = not_negative("gamma", gamma), warmup_epochs

    def loss(self, network: Network, batch: Batch, *, epoch: int) -> Loss:  # type: ignore[override]
        """Attack, the perturbation's pass, then the base's loss at the moved weights."""
        if epoch < self.warmup_epochs or not self.gamma:
            return self.base_loss(network, batch, epoch=epoch)
        self.base.seed = self.seed
        x_adv = self.base.neighbours(network, batch, epoch=epoch)
        weights = {
            name: weight for name, weight in network.named_parameters() if weight.requires_grad and weight.ndim > 1
        }
        with compiled(network, None):
            with attack_mode(network, "frozen" if self.bn == "frozen" else "train"):
                before = self.base.loss_at(network, batch, x_adv).total
            gradients = torch.autograd.grad(before, list(weights.values()), allow_unused=True, materialize_grads=True)
            with torch.no_grad():
                shared = dict(zip(weights, _averaged(gradients), strict=True))
                moves = perturbations(weights, shared, self.gamma)
            moved = {f"network.{name}": weight + moves[name] for name, weight in weights.items()}
            loss: Loss = functional_call(_LossOf(network, self.base), moved, (batch, x_adv))
        moved_by = torch.stack([move.norm() for move in moves.values()]).norm() if moves else x_adv.new_zeros(())
        parts = {"awp_norm": moved_by, "awp_rise": (loss.total - before).detach()}
        return Loss(loss.total, loss.parts | parts, loss.inputs)


def _averaged(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the mean over all processes; every process has all weights, so all take part."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return gradients
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    return tuple(part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True))
