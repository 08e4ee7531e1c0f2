"""Robust attribution regularization (Chen et al. 2019): what a pixel adds to the loss shall not change nearby."""

from contextlib import nullcontext
from typing import Literal

from torch import Tensor

from lightning_advinterp.attacks.explanation.attribution import AttributionAttack, path_attributions
from lightning_advinterp.attacks.loop.goal import cross_entropy
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack, one_attack
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.compiled import compiled
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.objectives.extended import Extended, agreed, check_beta, not_negative
from lightning_advinterp.objectives.objective import AdversarialObjective, Loss, Objective, accuracy
from lightning_advinterp.objectives.standard import Standard


class IGNorm(Extended, AdversarialObjective):
    """``base + weight · ‖IG(x → x*)‖₁``: no pixel's share in the loss changes on the way to any neighbour.

    IG(x → x*) are the integrated gradients of the cross-entropy from the image to its neighbour x* in the ball where
    the norm is largest: robust attribution regularization, "IG-NORM".

    Adds to the base, for each of the attack's steps, ``attack_path_steps`` points of a path, each a forward pass, a
    backward pass to the input and one through both, 5/3 of a standard step (with ``maximise: loss``: 2/3 each step);
    and for each of ``path_steps`` points a forward pass, a backward pass to the input and a full one through both, 2
    standard steps. By default, the authors' settings for GTSRB, 7 · 5 · 5/3 + 50 · 2 = 158 1/3 standard steps.

    Departure from the authors' code: their starting points may lie outside of [0, 1].

    Args:
        weight: λ; 1 for MNIST and GTSRB, 0.1 for flowers in the authors' configurations.
        base: the other objective, cross-entropy by default.
        attack: threat model and steps of the inner maximisation, which starts at random.
        maximise: ``term``, what this objective adds to the base, or ``loss``, the cross-entropy alone.
        path_steps: m of the norm; each is a pass with a graph for the loss.
        attack_path_steps: m within the attack.
        recompute: keep one point's graph instead of m, for a third more time.
        softplus: β; None (the authors') leaves relu.
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics in attack and norm; the base's, and left out it is that.

    Reference:
        Chen, Wu, Rastogi, Liang, Jha, Robust Attribution Regularization, 2019; settings and sums as in
        the authors' code.
    """

    loss_weight = 0.0

    def __init__(
        self,
        weight: float = 1.0,
        base: Objective | None = None,
        attack: OneAttack = AttackConfig("pgd", "8/255", steps=7, step_size="2/255"),
        maximise: Literal["term", "loss"] = "term",
        path_steps: int = 50,
        attack_path_steps: int = 5,
        recompute: bool = False,
        softplus: float | None = None,
        eps_warmup_epochs: int = 0,
        bn: BatchNormMode | None = None,
    ) -> None:
        super().__init__(attack, eps_warmup_epochs, agreed(bn, base))
        for argument, number in (("path_steps", path_steps), ("attack_path_steps", attack_path_steps)):
            if number < 1:
                raise ValueError(f"{argument} must be 1 or more, got {number}.")
        if maximise not in ("term", "loss"):
            raise ValueError(f"maximise must be term or loss, got {maximise!r}.")
        self.base = base or self.default_base()
        self.weight, self.softplus = not_negative("weight", weight), check_beta(softplus)
        self.path_steps, self.recompute, self.maximise = path_steps, recompute, maximise
        if maximise == "term":
            self._check_attack(one_attack(attack))
            self.attack = AttributionAttack(
                self.attack,
                path_steps=attack_path_steps,
                weight=self.weight or 1.0,  # a norm that is only measured is climbed all the same
                loss_weight=self.loss_weight,
                softplus=softplus,
            )

    def default_base(self) -> Objective | None:
        """Return what is minimised beside the term where no base is given."""
        return Standard(self.bn)

    def loss(self, network: Network, batch: Batch, *, epoch: int) -> Loss:  # type: ignore[override]
        """The attack, the base's loss, then the norm."""
        x, label = batch.image.detach(), batch.label
        with compiled(network, None) if self.maximise == "term" else nullcontext():
            x_adv = self.attack_at(epoch)(network, x, label, keys=self.keys(batch, epoch))
        base = self._classification(network, batch, x_adv, epoch=epoch)

        def cross_entropies(points: Tensor) -> tuple[Tensor, Tensor]:
            with self.term_mode(network):  # also where a point is computed again, long after this
                logits = network(points)
                return cross_entropy(logits, label), logits

        parameters = list(network.parameters()) if self.recompute else None
        attributions, *_ = path_attributions(
            cross_entropies, x, x_adv, steps=self.path_steps, create_graph=True, recompute=parameters
        )
        norm = attributions.abs().sum((1, 2, 3)).mean()
        total = base.total + self.weight * norm if self.weight else base.total
        return Loss(total, base.parts | {"ig_norm": norm.detach()}, base.inputs)

    def _classification(self, network: Network, batch: Batch, x_adv: Tensor, *, epoch: int) -> Loss:
        return self.base_loss(network, batch, epoch=epoch)

    def _check_attack(self, attack: AttackConfig) -> None:
        """Refuse what the inner maximisation does not know."""
        inner = self.attack
        if type(inner) is not GradientAttack or inner.target is not None or inner.label != "true":
            raise ValueError(
                f"attack: maximise: term climbs the norm of the label's loss by steps like pgd's, got {attack.type} "
                f"with label={inner.label!r} and target={inner.target!r}; use maximise: loss for it."
            )
        if inner.restarts > 1 or inner.stop_after is not None or inner.loss != "cross_entropy":
            raise ValueError("attack: restarts, stop_after and loss are no settings of an attack on the norm.")
        if not inner.random_start and not self.loss_weight:
            raise ValueError("attack: IG(x → x) is 0 with slope 0, so the attack must start elsewhere: random_start.")


class IGSumNorm(IGNorm):
    """``L(f(x*), y) + weight · ‖IG(x → x*)‖₁``, with x* that maximises just this: "IG-SUM-NORM"; or that beside a base.

    Adds to :class:`IGNorm` the loss's own forward pass of the adversarial images and its full backward pass, a standard
    step, and needs no base. Of log parts that a base has too (``loss_adv``, ``adv_acc``) the base's are kept.

    Args:
        weight: β; 0.1 for MNIST and flowers, 1 for GTSRB in the authors' configurations.
        base: another objective to which all of this is added; none by default.
        attack: as for :class:`IGNorm`.
        maximise: likewise.
        path_steps: likewise.
        attack_path_steps: likewise.
        recompute: likewise.
        softplus: likewise.
        eps_warmup_epochs: likewise.
        bn: likewise.
    """

    loss_weight = 1.0

    def default_base(self) -> Objective | None:
        """Return nothing: the adversarial images' loss is enough."""
        return None

    def _classification(self, network: Network, batch: Batch, x_adv: Tensor, *, epoch: int) -> Loss:
        logits = network(x_adv)
        loss = cross_entropy(logits, batch.label).mean()
        parts = {"loss_adv": loss.detach(), "adv_acc": accuracy(logits, batch.label)}
        if self.base is None:
            return Loss(loss, parts)
        base = self.base_loss(network, batch, epoch=epoch)
        return Loss(base.total + loss, parts | base.parts, base.inputs)
