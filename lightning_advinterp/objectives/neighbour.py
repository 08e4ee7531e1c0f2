"""Objectives of two steps: adversarial neighbours of the images, then a loss of both."""

from abc import abstractmethod

from torch import Tensor

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.network import Network
from lightning_advinterp.objectives.objective import AdversarialObjective, Loss


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
