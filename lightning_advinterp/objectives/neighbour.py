"""Objectives of two steps: adversarial neighbours of the images, then a loss of both."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.objectives.objective import AdversarialObjective, Loss, accuracy


class NeighbourObjective(AdversarialObjective):
    """An adversarial objective whose loss can be taken at neighbours that are there already.

    So another objective may take it twice at the same neighbours, as :class:`~.weight_perturbation.AWP` does.
    """

    def neighbours(self, network: Network, batch: Batch, *, epoch: int) -> Tensor:
        """Return x*, ``[B, C, H, W]`` in [0, 1], by this epoch's attack."""
        return self.attack_at(epoch)(network, batch.image, batch.label, keys=self.keys(batch, epoch))

    @abstractmethod
    def loss_at(self, network: Network, batch: Batch, x_adv: Tensor) -> Loss:
        """Return the loss of a batch and its neighbours x*, ``[B, C, H, W]``."""

    def loss(self, network: Network, batch: Batch, *, epoch: int) -> Loss:  # type: ignore[override]
        """Attack, then the loss at the neighbours."""
        return self.loss_at(network, batch, self.neighbours(network, batch, epoch=epoch))


class DivergenceObjective(NeighbourObjective):
    """A classification loss, and β times a divergence of the prediction at x* from that at x.

    Args:
        attack: the inner maximisation.
        beta: β.
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics during the attack and the loss.
    """

    classified: ClassVar[str]
    """What the log calls the loss beside the divergence."""

    def __init__(self, attack: OneAttack, beta: float, eps_warmup_epochs: int, bn: BatchNormMode) -> None:
        super().__init__(attack, eps_warmup_epochs, bn)
        if beta < 0:
            raise ValueError(f"beta must be 0 or more, got {beta}.")
        self.beta = beta

    @abstractmethod
    def terms(self, logits: Tensor, adv_logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the divergence alone, scalars, of f(x) and f(x*), ``[B, K]``."""

    def loss_at(self, network: Network, batch: Batch, x_adv: Tensor) -> Loss:
        """One forward pass of the images and one of their neighbours."""
        logits, adv_logits = network(batch.image), network(x_adv)
        total, divergence = self.terms(logits, adv_logits, batch.label)
        parts = {
            self.classified: (total - self.beta * divergence).detach(),
            "kl": divergence.detach(),
            "acc": accuracy(logits, batch.label),
            "adv_acc": accuracy(adv_logits, batch.label),
        }
        return Loss(total, parts)
