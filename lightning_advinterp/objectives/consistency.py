"""Adversarial training with the consistent loss (Dong, Su, Zhu 2022, Eq. 5–9)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.profiler import record_function

from lightning_advinterp.attacks.loop.goal import cross_entropy, full_precision
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.gradient_log import input_gradient
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.objectives.mart import mart_loss
from lightning_advinterp.objectives.neighbour import NeighbourObjective
from lightning_advinterp.objectives.objective import Loss, accuracy
from lightning_advinterp.objectives.trades import trades_loss

Distance = Literal["mean", "sum", "relative"]
Features = dict[str, Tensor]


def squared_distance(clean: Tensor, adversarial: Tensor, reduction: Distance = "mean") -> Tensor:
    """d(φ(x), φ(x*)): the squared Euclidean distance of two representations, per sample.

    Args:
        clean: φ(x), ``[B, …]``.
        adversarial: φ(x*), same shape.
        reduction: ``sum`` over a sample's elements is the paper's literal form; ``mean`` divides it by their
            number, so that its weight does not depend on the layer's size; ``relative`` divides it by
            ‖φ(x)‖² + 1e-8, which shrinking φ cannot satisfy.

    Returns:
        ``[B]``.
    """
    clean, adversarial = full_precision(clean).flatten(1), full_precision(adversarial).flatten(1)
    squares = (clean - adversarial).square()
    if reduction == "mean":
        return squares.mean(dim=1)
    if reduction == "sum":
        return squares.sum(dim=1)
    return squares.sum(dim=1) / (clean.square().sum(dim=1) + 1e-8)


class Consistency(NeighbourObjective):
    """Adversarial training that aligns the representations of an image and its adversarial neighbour.

    ``L = α L(f(x), y) + (1 − α) L(f(x*), y) + weight · Σ_l w_l d(φ_l(x), φ_l(x*))``, one x* for both terms (Eq. 8
    and 9; the paper's coefficient of the second term is 1). ``trades_beta`` puts TRADES in the place of Eq. 8:
    ``L(f(x), y) + β KL(p(x) ‖ p(x*)) + weight · Σ_l w_l d(φ_l(x), φ_l(x*))``; its own inner attack is
    ``attack: {type: trades}``, its authors' BatchNorm mode ``bn: eval``. ``mart_beta`` puts MART's loss there likewise,
    see :func:`~lightning_advinterp.objectives.mart.mart_loss`.

    With a single-step attack from the image itself, the attack's gradient is taken from the clean forward pass
    of the loss: 2 forward passes, 1 backward pass to the input and 2 full backward passes, 7/3 of a standard step.
    That pass runs in training mode, with the batch's BatchNorm statistics and active dropout; ``bn="eval"``
    spends a separate forward pass on the running statistics instead (8/3). Any other attack takes its own passes,
    those of Madry's objective, beside 2 forward and 2 full backward passes: 2 + 2/3 · steps.

    Departures from the paper, where it is silent or its literal form scales with the layer: ``distance`` is the
    mean over the representation's elements instead of the sum; ε is drawn per image, uniformly from [4, 16]/255;
    clean and adversarial images pass in two forwards with their own batch statistics; φ is the family's last
    convolutional block (``network.phi``). The gradient flows through both representations, as Eq. 9 has it.

    Args:
        attack: the inner maximisation; FGSM by default (Eq. 1).
        layers: feature layers φ_l as paths in the backbone, or a mapping of paths to weights w_l;
            ``phi`` is the network's default, ``penultimate`` the classifier's input, ``logits`` its output.
        weight: weight of the consistent loss; 1 in the paper, 0 leaves plain adversarial training by Eq. 8.
        distance: ``mean``, ``sum`` or ``relative``, see :func:`squared_distance`.
        alpha: α of Eq. 8, the share of the clean loss.
        trades_beta: β of TRADES (6 in its authors' script); ``null`` stays with Eq. 8.
        mart_beta: λ of MART (5 in its paper); ``null`` stays with Eq. 8.
        detach_clean: stop the gradient through φ(x).
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics during the attack and the loss.

    Reference:
        Dong, Su, Zhu, Interpretability Analysis of Deep Neural Networks With Adversarial Examples, Acta
        Automatica Sinica 48(1), 2022, Eq. 5–9.
    """

    def __init__(
        self,
        attack: OneAttack = AttackConfig("fgsm", ["4/255", "16/255"]),
        layers: str | list[str] | dict[str, float] = "phi",
        weight: float = 1.0,
        distance: Distance = "mean",
        alpha: float = 0.5,
        detach_clean: bool = False,
        trades_beta: float | None = None,
        eps_warmup_epochs: int = 0,
        bn: BatchNormMode = "train",
        mart_beta: float | None = None,
    ) -> None:
        super().__init__(attack, eps_warmup_epochs, bn)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}.")
        if weight < 0:
            raise ValueError(f"weight must be 0 or more, got {weight}.")
        for argument, beta in (("trades_beta", trades_beta), ("mart_beta", mart_beta)):
            if beta is not None and beta < 0:
                raise ValueError(f"{argument} must be 0 or more, or null for Eq. 8, got {beta}.")
        if trades_beta is not None and mart_beta is not None:
            raise ValueError(f"trades_beta and mart_beta both replace Eq. 8, got {trades_beta} and {mart_beta}.")
        if distance not in ("mean", "sum", "relative"):
            raise ValueError(f"distance must be mean, sum or relative, got {distance!r}.")
        self.layers = _layer_weights(layers)
        self.weight, self.distance, self.alpha = weight, distance, alpha
        self.detach_clean, self.trades_beta, self.mart_beta = detach_clean, trades_beta, mart_beta

    def check(self, network: Network) -> None:
        """Refuse a network without these layers."""
        network.check(self.layers)

    def loss(self, network: Network, batch: Batch, *, epoch: int) -> Loss:  # type: ignore[override]
        """See the class; the network must offer ``forward_features``."""
        if not self._shares_clean_pass:
            return super().loss(network, batch, epoch=epoch)
        layers, attack, keys = tuple(self.layers), self.attack_at(epoch), self.keys(batch, epoch)
        x = batch.image.detach().requires_grad_()
        logits, clean = network.forward_features(x, layers)
        x_adv = _single_step(attack, logits, x, batch.label, keys)
        adv_logits, adversarial = network.forward_features(x_adv, layers)
        return self._combine(batch.label, logits, clean, adv_logits, adversarial)

    def loss_at(self, network: Network, batch: Batch, x_adv: Tensor) -> Loss:
        """One forward pass of the images and one of their neighbours."""
        layers = tuple(self.layers)
        logits, clean = network.forward_features(batch.image, layers)
        adv_logits, adversarial = network.forward_features(x_adv, layers)
        return self._combine(batch.label, logits, clean, adv_logits, adversarial)

    @property
    def _shares_clean_pass(self) -> bool:
        # Attacks of a subclass have an objective of their own, or climb it on other networks.
        plain = type(self.attack) is GradientAttack
        single = plain and self.attack.steps == 1 and not self.attack.random_start
        return single and self.bn != "eval"

    def _combine(
        self, label: Tensor, logits: Tensor, clean: Features, adv_logits: Tensor, adversarial: Features
    ) -> Loss:
        loss_clean = cross_entropy(logits, label).mean()
        loss_adv = cross_entropy(adv_logits, label).mean()
        divergence = {}
        if self.trades_beta is not None:
            total, kl = trades_loss(logits, adv_logits, label, self.trades_beta)
            divergence["kl"] = kl.detach()
        elif self.mart_beta is not None:
            total, kl = mart_loss(logits, adv_logits, label, self.mart_beta)
            divergence["kl"] = kl.detach()
        else:
            total = self.alpha * loss_clean + (1 - self.alpha) * loss_adv
        consistency = total.new_zeros(())
        for layer, weight in self.layers.items():
            phi = clean[layer].detach() if self.detach_clean else clean[layer]
            consistency = consistency + weight * squared_distance(phi, adversarial[layer], self.distance).mean()
        if self.weight:
            total = total + self.weight * consistency
        parts = {
            "loss_clean": loss_clean.detach(),
            "loss_adv": loss_adv.detach(),
            "consistency": consistency.detach(),
            "acc": accuracy(logits, label),
            "adv_acc": accuracy(adv_logits, label),
        }
        return Loss(total, parts | divergence | _collapse_guard(clean, adversarial, next(iter(self.layers))))


def _single_step(attack: GradientAttack, logits: Tensor, x: Tensor, label: Tensor, keys: Tensor) -> Tensor:
    """The attack's only step, from the gradient of a pass whose graph the loss will use again."""
    with record_function("attack"):
        goal = attack.goal(label, None, keys)
        goal.checked = True  # by the objective
        gradient = input_gradient(attack.gain(logits, goal), x, retain_graph=True)
        x = x.detach()
        x_adv, attacked = attack.first_move(x, gradient.nan_to_num(nan=0.0), keys), goal.attacked
        return x_adv if attacked is None else torch.where(attacked[:, None, None, None], x_adv, x)


def _layer_weights(layers: str | Sequence[str] | Mapping[str, float]) -> dict[str, float]:
    if isinstance(layers, str):
        layers = [layers]
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    if not weights:
        raise ValueError("layers must name at least one feature layer; use weight: 0 to switch the term off.")
    return weights


@torch.no_grad()
def _collapse_guard(clean: Features, adversarial: Features, layer: str) -> dict[str, Tensor]:
    """‖φ(x)‖ and ‖φ(x) − φ(x*)‖²/‖φ(x)‖², batch means: a consistent loss that falls because φ shrinks shows."""
    norm = full_precision(clean[layer]).flatten(1).norm(dim=1).mean()
    shift = squared_distance(clean[layer], adversarial[layer], "relative").mean()
    return {"phi_norm": norm, "phi_shift": shift}
