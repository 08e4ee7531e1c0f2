"""TRADES (Zhang et al. 2019): cross-entropy on the image, and a prediction that its neighbours share."""

from torch import Tensor

from lightning_advinterp.attacks.loop.goal import cross_entropy, kl_divergence
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.objectives.neighbour import DivergenceObjective


def trades_loss(logits: Tensor, adv_logits: Tensor, label: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """L(f(x), y) + β KL(p(x) ‖ p(x*)), both averaged over the batch; the gradient flows through both branches.

    Args:
        logits: f(x), ``[B, K]``.
        adv_logits: f(x*), ``[B, K]``.
        label: int64 ``[B]``.
        beta: β.

    Returns:
        The loss and the divergence alone, scalars.
    """
    divergence = kl_divergence(adv_logits, logits).mean()
    return cross_entropy(logits, label).mean() + beta * divergence, divergence


class Trades(DivergenceObjective):
    """``L = L(f(x), y) + β KL(p(x) ‖ p(x*))``, with x* that maximises the divergence inside the ball.

    A step costs steps + 3 forward passes (one of them the attack's clean prediction), ``steps`` backward passes to
    the input and 2 full backward passes: 7/3 + 2/3 · steps of a standard step, 9 with the default 10 steps.

    Departures from the authors' code: its loss sends the clean images through the network twice, for the
    cross-entropy and for the divergence, where one pass serves both here (so BatchNorm's running statistics are
    updated 2 times a step instead of 3, and dropout draws once); its starting point may lie outside [0, 1], by some
    thousandths, where it is clipped here.

    Args:
        attack: the inner maximisation; by default the authors' CIFAR-10 settings: 10 steps of 0.007 in the ball of
            ε = 0.031, from x + 0.001·N(0, 1).
        beta: β, the weight of the divergence; 6 in the authors' script (1/λ of the paper).
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics during the attack and the loss; the authors attack in evaluation mode.

    Reference:
        Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, Theoretically Principled Trade-off between Robustness and
        Accuracy, 2019, Algorithm 1.
    """

    classified = "loss_clean"

    def __init__(
        self,
        attack: OneAttack = AttackConfig("trades", 0.031, steps=10, step_size=0.007),
        beta: float = 6.0,
        eps_warmup_epochs: int = 0,
        bn: BatchNormMode = "eval",
    ) -> None:
        super().__init__(attack, beta, eps_warmup_epochs, bn)

    def terms(self, logits: Tensor, adv_logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """See :func:`trades_loss`."""
        return trades_loss(logits, adv_logits, label, self.beta)
