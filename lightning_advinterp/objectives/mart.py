"""MART (Wang et al. 2020): images that the network gets wrong count more."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.attacks.loop.goal import cross_entropy, full_precision
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.objectives.neighbour import DivergenceObjective


def mart_loss(logits: Tensor, adv_logits: Tensor, label: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """BCE(p(x*), y) + β KL(p(x) ‖ p(x*)) (1 − p_y(x)), averaged over the batch (Eq. 11 of the paper).

    BCE(p, y) = −log p_y − log(1 − max_{k≠y} p_k), so that the runner-up is pushed down as well. The gradient flows
    through all of it. The small constants (1e-12, 1.0001, 1.0000001) are those of the authors' code.

    Args:
        logits: f(x), ``[B, K]``.
        adv_logits: f(x*), ``[B, K]``.
        label: int64 ``[B]``.
        beta: β, which the paper calls λ.

    Returns:
        The loss and the weighted divergence alone, scalars.
    """
    clean, attacked = full_precision(logits).softmax(1), full_precision(adv_logits).softmax(1)
    # As in the authors' code the larger of two equal outputs is the runner-up where the label is one of them.
    ranking = attacked.argsort(dim=1)
    runner_up = torch.where(ranking[:, -1] == label, ranking[:, -2], ranking[:, -1])
    margin = F.nll_loss(torch.log(1.0001 - attacked + 1e-12), runner_up)
    log_ratio = torch.xlogy(clean, clean) - clean * torch.log(attacked + 1e-12)
    hesitation = 1.0000001 - clean.gather(1, label[:, None])[:, 0]
    divergence = (log_ratio.sum(1) * hesitation).mean()
    return cross_entropy(adv_logits, label).mean() + margin + beta * divergence, divergence


class Mart(DivergenceObjective):
    """``L = BCE(p(x*), y) + β KL(p(x) ‖ p(x*)) (1 − p_y(x))``: misclassification-aware adversarial training.

    A step costs steps + 2 forward passes, ``steps`` backward passes to the input and 2 full backward passes:
    2 + 2/3 · steps of a standard step, 26/3 with the default 10 steps.

    Args:
        attack: the inner maximisation of the cross-entropy; by default the paper's, 10 steps of ε/4 in the ball of
            ε = 8/255, from a random start. The authors' code starts at x + 0.001·N(0, 1) and takes steps of 0.007 in
            0.031.
        beta: β; 5 in the paper (its λ), 6 in the authors' script.
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics during the attack and the loss; the authors attack in evaluation mode.

    Reference:
        Wang, Zou, Yi, Bailey, Ma, Gu, Improving Adversarial Robustness Requires Revisiting Misclassified Examples,
        2020, Eq. 10 and 11 (constants of paper and code from memory).
    """

    classified = "loss_adv"

    def __init__(
        self,
        attack: OneAttack = AttackConfig("pgd", "8/255", steps=10, step_size="2/255"),
        beta: float = 5.0,
        eps_warmup_epochs: int = 0,
        bn: BatchNormMode = "eval",
    ) -> None:
        super().__init__(attack, beta, eps_warmup_epochs, bn)

    def terms(self, logits: Tensor, adv_logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """See :func:`mart_loss`."""
        return mart_loss(logits, adv_logits, label, self.beta)
