"""Cross-entropy on clean images: the baseline of everything else."""

from torch import nn

from lightning_advinterp.attacks.loop.goal import cross_entropy
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.objectives.objective import Loss, Objective, accuracy


class Standard(Objective):
    """L(f(x), y), cross-entropy averaged over the batch.

    Args:
        bn: ``frozen`` keeps BatchNorm's running statistics; otherwise they are learnt as usual.
    """

    def loss(self, network: nn.Module, batch: Batch, *, epoch: int) -> Loss:
        """One forward pass; see :class:`~lightning_advinterp.objectives.objective.Objective`."""
        logits = network(batch.image)
        total = cross_entropy(logits, batch.label).mean()
        return Loss(total, {"acc": accuracy(logits, batch.label)})
