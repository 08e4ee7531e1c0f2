"""Adversarial training by cross-entropy alone: Kurakin et al. 2017, Madry et al. 2018, Wong et al. 2020."""

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.goal import cross_entropy
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.objectives.neighbour import NeighbourObjective
from lightning_advinterp.objectives.objective import AdversarialObjective, Loss, accuracy


class Madry(NeighbourObjective):
    """Cross-entropy on adversarial images only: min_θ E max_{x*∈S(x)} L(f_θ(x*), y).

    A step costs steps + 1 forward passes, ``steps`` backward passes to the input and 1 full backward pass,
    1 + 2/3 · steps of a standard step.

    Args:
        attack: the inner maximisation; by default the authors' CIFAR-10 settings (ε = 8, 10 steps of 2, of 255).
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics during the attack and the loss.

    Reference:
        Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018, Eq. 2.1.
    """

    def __init__(
        self,
        attack: OneAttack = AttackConfig("pgd", "8/255", steps=10, step_size="2/255"),
        eps_warmup_epochs: int = 0,
        bn: BatchNormMode = "train",
    ) -> None:
        super().__init__(attack, eps_warmup_epochs, bn)

    def loss_at(self, network: Network, batch: Batch, x_adv: Tensor) -> Loss:
        """One forward pass of the adversarial images."""
        logits = network(x_adv)
        return Loss(cross_entropy(logits, batch.label).mean(), {"adv_acc": accuracy(logits, batch.label)})


class Fast(Madry):
    """Madry's objective with one step from a random start: "Fast is better than free".

    δ₀ ~ U(−ε, ε), δ = clip(δ₀ + α sign ∇L(f(x + δ₀), y), ±ε), then cross-entropy on x + δ; α = 1.25 ε. With
    ``attack: {type: nfgsm}`` it is N-FGSM (de Jorge et al. 2022): noise of 2 ε, a step of ε, no clipping to the ball.

    A step costs 2 forward passes, 1 backward pass to the input and 1 full backward pass, 5/3 of a standard step.

    Departures: as in the authors' code, attack and update see the batch's BatchNorm statistics; there the attack's
    pass also updates the running ones and has dropout on, here it leaves the network alone.

    Single-step training can fail without a sign in its own loss (catastrophic overfitting): watch it by the guard.

    Args:
        attack: by default the authors' CIFAR-10 settings (ε = 8, α = 10, of 255).
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics during the attack and the loss.

    Reference:
        Wong, Rice, Kolter, Fast is Better than Free: Revisiting Adversarial Training, 2020, Algorithm 3.
    """

    def __init__(
        self,
        attack: OneAttack = AttackConfig("fgsm_rs", "8/255"),
        eps_warmup_epochs: int = 0,
        bn: BatchNormMode = "train",
    ) -> None:
        super().__init__(attack, eps_warmup_epochs, bn)


class Kurakin(AdversarialObjective):
    """Clean and one-step adversarial images in one minibatch.

    ``L = (Σ_clean L + λ Σ_adv L) / ((m − k) + λ k)``, with k of the m images replaced by adversarial ones. Both
    kinds go through the network in one forward pass and share its BatchNorm statistics, as in the paper.

    A step costs 2 forward passes and 1 backward pass to the input (the attack's on the k images alone) and 1 full
    backward pass, 4/3 of a standard step with half of the batch attacked.

    Args:
        attack: by default one step towards the least likely class (which avoids label leaking), ε drawn for each
            image from the normal distribution of σ = 8 truncated to [0, 16], of 255.
        adversarial_share: k/m, the share of the minibatch that is attacked.
        adversarial_weight: λ, the weight of an attacked image's loss.
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics during the attack and the loss.

    Reference:
        Kurakin, Goodfellow, Bengio, Adversarial Machine Learning at Scale, 2017, Eq. 1 and Section 3
        (m = 32, k = 16, λ = 0.3; constants from memory of the paper).
    """

    def __init__(
        self,
        attack: OneAttack = AttackConfig(
            "fgsm", [0, "16/255"], label="least_likely", eps_distribution="truncated_normal"
        ),
        adversarial_share: float = 0.5,
        adversarial_weight: float = 0.3,
        eps_warmup_epochs: int = 0,
        bn: BatchNormMode = "train",
    ) -> None:
        super().__init__(attack, eps_warmup_epochs, bn)
        if not 0 < adversarial_share <= 1:
            raise ValueError(f"adversarial_share must be in (0, 1], got {adversarial_share}.")
        if adversarial_weight <= 0:
            raise ValueError(f"adversarial_weight must be positive, got {adversarial_weight}.")
        self.adversarial_share = adversarial_share
        self.adversarial_weight = adversarial_weight

    def loss(self, network: nn.Module, batch: Batch, *, epoch: int) -> Loss:
        """Attack the last k images of the (shuffled) batch, then one forward pass of all."""
        image, label = batch.image, batch.label
        attacked = max(1, round(self.adversarial_share * len(label)))
        clean = len(label) - attacked
        keys = self.keys(batch, epoch)[clean:]
        x_adv = self.attack_at(epoch)(network, image[clean:], label[clean:], keys=keys)
        logits = network(torch.cat([image[:clean], x_adv]))
        losses = cross_entropy(logits, label)
        weighted = losses[:clean].sum() + self.adversarial_weight * losses[clean:].sum()
        total = weighted / (clean + self.adversarial_weight * attacked)
        parts = {
            "loss_adv": losses[clean:].detach().mean(),
            "adv_acc": accuracy(logits[clean:], label[clean:]),
        }
        if clean:
            parts["loss_clean"] = losses[:clean].detach().mean()
            parts["acc"] = accuracy(logits[:clean], label[:clean])
        return Loss(total, parts)
