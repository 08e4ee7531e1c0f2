"""Random signs: what a change of the same size does that knows nothing of the network."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack, AttackResult, distances, unnoted
from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.goal import LOSSES, Goal
from lightning_advinterp.attacks.loop.threat import SignNoiseLinf


class RandomSign(Attack):
    """x* = clip(x + ε·s, 0, 1), every pixel's s drawn from {−1, 1}: the control of attacks within ‖x* − x‖∞ ≤ ε.

    Costs no pass.

    Args:
        budget: ε.
        **common: as in :class:`~lightning_advinterp.attacks.loop.attack.Attack`.
    """

    def __init__(self, budget: Budget, **common: Any) -> None:
        super().__init__(**common)
        self.threat = SignNoiseLinf(budget, share=1.0)

    @property
    def takes_mask(self) -> bool:
        """Yes."""
        return True

    @property
    def eps(self) -> float | None:
        """The largest radius."""
        return self.threat.budget.high

    @property
    def eps_low(self) -> float | None:
        """The smallest radius that is drawn; the largest where all are alike."""
        return self.threat.budget.low

    @property
    def passes(self) -> tuple[int, int]:
        """None."""
        return 0, 0

    @property
    def iterations(self) -> int:
        """One draw."""
        return 1

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Draw once; a finished result costs two forward passes, whose cross-entropies are its ``trace``."""
        x_adv = self.threat.random_start(x, goal.reach(self.threat.budget.radius(keys, x.dtype)), keys)
        success = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        target, trace = torch.zeros(len(x), dtype=torch.int64, device=x.device), x.new_zeros(2, len(x))
        if finish:
            with torch.no_grad():
                clean, logits = network(x), network(x_adv)
                target = goal.resolve(clean)
                trace = torch.stack([goal.gain(at, LOSSES["cross_entropy"]) for at in (clean, logits)])
            success = goal.reached(logits)
        return AttackResult(x_adv, target, success, *distances(x_adv, x), trace, *unnoted(success))
