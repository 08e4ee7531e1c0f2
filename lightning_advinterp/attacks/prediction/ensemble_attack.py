"""The optimisation attack on several networks at once (Dong et al. 2017)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import AttackResult
from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.prediction.ensemble import least_likely_targets
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.attacks.prediction.optimization import OptimizationAttack
from lightning_advinterp.attacks.prediction.transfer import TransferAttack
from lightning_advinterp.core.randomness import uniform
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network

_RANK_STREAM = 0x72616E6B  # "rank"


class EnsembleAttack(TransferAttack):
    """argmin over x* of d(x*, x) + λ·Σ w_i ℓ(y*, f_i(x*)): one image that fools several networks.

    The ensemble-optimisation attack of Dong et al. 2017, whose images are then shown to any network. The paper aims
    every image at its ten least likely classes (by the average probability): ten images of one. An evaluation shows one
    adversarial image per image and attack, so each image is aimed at one of its ``targets`` least likely classes,
    drawn from its key: a random tenth of the paper's set. With ``rank`` it is always the same place, and ten attacks
    of ranks 1 to 10 are the whole set; in Python pass ``target=least_likely_targets(ensemble, x, 10)[:, i]``.

    The network that the attack is called with is not looked at. A success is one against the ensemble: the largest
    score is the target's. Departure: λ stands at the loss as in Eq. 4 of Dong, Su & Zhu 2022, whose d, Adam and
    iterations these are, not at d.

    Args:
        inner: the attack made on the ensemble, with the loss ``negative_log``.
        members: as in :class:`~lightning_advinterp.attacks.prediction.transfer.TransferAttack`.
        targets: how many of the least likely classes are targets; all but the likeliest where there are fewer.
        rank: which of them it is, 1 the least likely; None: drawn for every image.
        **common: as in :class:`~lightning_advinterp.attacks.prediction.transfer.TransferAttack`.
    """

    def __init__(
        self,
        inner: OptimizationAttack,
        members: Sequence[Network | Member],
        *,
        targets: int = 10,
        rank: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(inner, members, **{"target": "least_likely"} | common)
        if targets < 1:
            raise ValueError(f"targets must be 1 or more classes, got {targets}.")
        if rank is not None and not 1 <= rank <= targets:
            raise ValueError(f"target_rank must be 1 to {targets}, the number of targets, got {rank}.")
        self.inner: OptimizationAttack = inner
        self.targets, self.rank = targets, rank

    @property
    def passes(self) -> tuple[int, int]:
        """Those of the attack, and one for the targets, by every member."""
        forwards, backwards = super().passes
        return forwards + len(self.members), backwards

    def aim(self, x: Tensor, logits: Tensor, y: Tensor | None, keys: Tensor) -> Goal:
        """Return the class question as the ensemble answers it; the other network's ``logits`` do not matter."""
        with frozen_eval(self.ensemble):
            return self._answered(self.goal(y, None, keys), x, keys)

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Attack the ensemble."""
        with frozen_eval(self.ensemble):
            goal = self._answered(goal, x, keys)
        return super().search(network, x, goal, keys, finish=finish)

    def _answered(self, goal: Goal, x: Tensor, keys: Tensor) -> Goal:
        """Choose the classes, where they are not given."""
        self.ensemble.to(x.device)
        if goal.resolved:
            return goal
        if self.target != "least_likely":
            with torch.no_grad():
                goal.resolve(self.ensemble(x))
            return goal
        if self.rank is None:
            num_classes = self.ensemble.num_classes if self.classes is None else len(self.classes)
            count = max(1, min(self.targets, num_classes - 1))
            place = (uniform(keys, (), stream=_RANK_STREAM).double() * count).long()
        else:
            count, place = self.rank, torch.full_like(keys, self.rank - 1)
        least = least_likely_targets(self.ensemble, x, count, self.classes, y=goal.true_class)
        return goal.aimed(least.gather(1, place[:, None]).squeeze(1))
