"""Square attack: random search with square-shaped changes, without gradients (Andriushchenko et al. 2020)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.goal import margin
from lightning_advinterp.attacks.prediction.squares import (
    SCHEDULE,
    l2_proposal,
    linf_proposal,
    share_of_pixels,
    stripes,
    tiles,
)
from lightning_advinterp.attacks.prediction.untargeted import (
    AdversarialImages,
    AttackedImages,
    Samples,
    UntargetedAttack,
    misclassified,
    remaining,
)
from lightning_advinterp.core.randomness import mix


@dataclass
class _Search(Samples):
    """The samples still searching; every tensor is ``[B, …]``: images, best points and their margins, and so on."""

    x: Tensor
    best: Tensor
    margin: Tensor
    label: Tensor
    radius: Tensor
    keys: Tensor
    index: Tensor


class Square(UntargetedAttack):
    """Random search: a proposal is kept where it raises the margin max_{j≠y} z_j − z_y.

    A query is one forward pass. The first one shows the start (stripes, or a grid for L2), the others a changed
    square each, whose size falls on a schedule. Samples leave at their first misclassified point; the others end
    at the point of the highest margin.

    Args:
        budget: the radius of the ball.
        queries: how many points are tried.
        share: the first square's share of the image, p_init.
        rescale: stretch or shrink the schedule of sizes, made for 10,000 queries, to ``queries``; the authors' default
            for the attack alone. False takes its first ``queries`` entries, as their standard AutoAttack does.
        **common: as in :class:`~lightning_advinterp.attacks.prediction.untargeted.UntargetedAttack`.
    """

    def __init__(
        self, budget: Budget, *, queries: int = 5000, share: float = 0.8, rescale: bool = True, **common: Any
    ) -> None:
        super().__init__(budget, **common)
        if queries < 1:
            raise ValueError(f"queries must be 1 or more, got {queries}.")
        self.queries, self.share, self.rescale = queries, share, rescale

    @property
    def passes(self) -> tuple[int, int]:
        """One forward pass per query, and the clean one."""
        return 1 + self.queries, 0

    @property
    def iterations(self) -> int:
        """The number of queries."""
        return self.queries

    @torch.no_grad()
    def hunt(self, network: nn.Module, attacked: AttackedImages) -> AdversarialImages:
        """Search; the first query's point is the best whatever its margin."""
        start, propose = (stripes, linf_proposal) if self.norm == "linf" else (tiles, l2_proposal)
        adversarial = AdversarialImages.nothing(attacked)
        index = torch.arange(len(attacked.x), device=attacked.x.device)
        lowest = torch.full_like(adversarial.margin, -torch.inf)
        state = _Search(attacked.x, attacked.x, lowest, attacked.label, attacked.radius, attacked.keys, index)
        for query in range(self.queries):
            if query == 0:
                point = start(state.x, state.radius, state.keys)
            else:
                share = share_of_pixels(query - 1, self.queries if self.rescale else SCHEDULE, self.share)
                point = propose(state.x, state.best, state.radius, mix(state.keys, query), share)
            logits = network(point)
            margins, lost = margin(logits, state.label).to(lowest.dtype), misclassified(logits, state.label)
            attacked.log[state.index].note_value(margins)
            better = (margins > state.margin) | lost
            state.best = torch.where(better[:, None, None, None], point, state.best)
            state.margin = torch.where(better, margins, state.margin)
            if bool(lost.any()):
                adversarial.put(state.index[lost], AdversarialImages(state.best[lost], lost[lost], state.margin[lost]))
                state = state.take(remaining(lost))
                if len(state.index) == 0:
                    return adversarial
        adversarial.put(
            state.index, AdversarialImages(state.best, torch.zeros_like(state.label, dtype=torch.bool), state.margin)
        )
        return adversarial
