"""A training objective of your own: MART (Wang et al. 2020).

python train.py --config configs/madry.yaml --model.objective examples.extensions.mart.Mart --name mart
"""

import torch
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.objectives.objective import AdversarialObjective, Loss, accuracy


class Mart(AdversarialObjective):
    """Boosted cross-entropy of x*, and KL(p(x) ‖ p(x*)) weighted by 1 − p_y(x): misclassified images count more.

    Args:
        attack: the inner maximisation.
        beta: λ, the weight of the divergence; 5 in the paper.
    """

    def __init__(self, attack: OneAttack = AttackConfig("pgd", "8/255"), beta: float = 5.0) -> None:
        super().__init__(attack, 0, "eval")
        self.beta = beta

    def loss(self, network: nn.Module, batch: Batch, *, epoch: int) -> Loss:
        """Return BCE(p(x*), y) + λ KL(p(x) ‖ p(x*)) (1 − p_y(x)), averaged over the batch."""
        x_adv = self.attack_at(epoch)(network, batch.image, batch.label, keys=self.keys(batch, epoch))
        clean, attacked = network(batch.image), network(x_adv)
        p, q, y = clean.softmax(1), attacked.softmax(1), batch.label[:, None]
        runner_up = q.scatter(1, y, 0).amax(1)
        boosted = F.cross_entropy(attacked, batch.label, reduction="none") - torch.log(1.0001 - runner_up + 1e-12)
        divergence = (p * (torch.log(p + 1e-12) - torch.log(q + 1e-12))).sum(1) * (1.0000001 - p.gather(1, y)[:, 0])
        parts = {"adv_acc": accuracy(attacked, batch.label), "acc": accuracy(clean, batch.label)}
        return Loss(boosted.mean() + self.beta * divergence.mean(), parts)
