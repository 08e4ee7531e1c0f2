"""AutoAttack, standard version: four attacks, each on what the ones before it left (Croce & Hein 2020, Section 6)."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.goal import margin
from lightning_advinterp.attacks.prediction.apgd import APGD
from lightning_advinterp.attacks.prediction.fab import FAB
from lightning_advinterp.attacks.prediction.square import Square
from lightning_advinterp.attacks.prediction.untargeted import (
    AdversarialImages,
    AttackedImages,
    UntargetedAttack,
    misclassified,
    remaining,
)


class AutoAttack(UntargetedAttack):
    """APGD on the cross-entropy, targeted APGD on the DLR, targeted FAB, Square.

    An image counts as broken only when another forward pass, of what will be returned, says so; it is then left
    alone by the attacks that follow. Images that none of them breaks come back unchanged, as misclassified ones do.

    Args:
        budget: the radius of the ball.
        steps: iterations of the gradient attacks; the standard version has 100.
        queries: of Square; the standard version has 5000. As in the authors' code its squares follow the schedule for
            10,000 queries, which is not rescaled.
        **common: as in :class:`~lightning_advinterp.attacks.prediction.untargeted.UntargetedAttack`.
    """

    def __init__(self, budget: Budget, *, steps: int = 100, queries: int = 5000, **common: Any) -> None:
        super().__init__(budget, **common)
        common = common | {"norm": self.norm}
        self.attacks: tuple[UntargetedAttack, ...] = (
            APGD(budget, steps=steps, **common | {"name": "apgd"}),
            APGD(budget, steps=steps, loss="dlr_targeted", **common | {"name": "apgd_t"}),
            FAB(budget, steps=steps, **common | {"name": "fab_t"}),
            Square(budget, queries=queries, rescale=False, **common | {"name": "square"}),
        )

    @property
    def passes(self) -> tuple[int, int]:
        """The sum over the attacks, which share the clean pass, and a second look after each."""
        forwards, backwards = (sum(counts) for counts in zip(*(a.passes for a in self.attacks), strict=True))
        return forwards + 1, backwards  # one clean pass instead of four, and four second looks

    @property
    def iterations(self) -> int:
        """Iterations of its gradient attacks' runs."""
        return self.attacks[0].iterations

    def check_classes(self, num_classes: int) -> None:
        """Refuse before the first step what one of the attacks would refuse later."""
        for attack in self.attacks:
            attack.check_classes(num_classes)

    def hunt(self, network: nn.Module, attacked: AttackedImages) -> AdversarialImages:
        """One attack after the other, each on the survivors."""
        adversarial = AdversarialImages.nothing(attacked)
        for attack in self.attacks:
            todo = remaining(adversarial.success)
            if len(todo) == 0:
                break
            again = attack.hunt(network, attacked.take(todo))
            (claimed,) = again.success.nonzero(as_tuple=True)
            if len(claimed) > 0:
                broken = todo[claimed]
                adversarial.put(broken, _seen_again(network, again.x_adv[claimed], attacked.take(broken)))
        return adversarial


@torch.no_grad()
def _seen_again(network: nn.Module, x_adv: Tensor, attacked: AttackedImages) -> AdversarialImages:
    """Return the points that a second forward pass finds misclassified too, and the images instead of the others."""
    logits = network(x_adv)
    lost = misclassified(logits, attacked.label)
    wide = lost[:, None, None, None]
    return AdversarialImages(
        torch.where(wide, x_adv, attacked.x),
        lost,
        torch.where(lost, margin(logits, attacked.label), margin(attacked.logits, attacked.label)),
    )
