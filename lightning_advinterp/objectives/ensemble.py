"""Ensemble adversarial training (Tramèr et al. 2018): adversarial images from other networks as well."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.goal import cross_entropy
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.core.randomness import uniform
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.networks.same_outputs import require_same_outputs
from lightning_advinterp.networks.trial import try_network
from lightning_advinterp.objectives.objective import AdversarialObjective, Loss, accuracy
from lightning_advinterp.objectives.source_network import SourceNetwork

_SOURCE_STREAM = 0x736F75726365  # "source"


class EnsembleAdversarial(AdversarialObjective):
    """``L = α L(f(x), y) + (1 − α) L(f(x*), y)``, x* crafted on a static trained network or on f itself.

    One source per batch, each of the static networks and f being equally likely; the choice is a function of
    (seed, epoch, the batch's images), on every process by itself. Because most x* do not depend on f, f cannot
    learn to defeat the attack by masking its own gradient.

    A step costs 3 forward passes (one of them the source's), 1 backward pass to the input and 2 full backward
    passes: 8/3 of a standard step, if the sources are as large as f. RAND+FGSM needs one more forward pass for the
    predicted labels of the clean images, 3 in all.

    Departures from the authors' code: the source is drawn, where the code goes round by the batch's number. As there,
    the label attacked is the predicted one (no label leaking), and clean and adversarial images pass in two
    forwards. ε defaults to the paper's 16 of 255 for ImageNet (0.3 on MNIST).

    Args:
        sources: the static networks; they must have as many outputs as f, are never trained, and are no part of the
            checkpoint.
        attack: one step by default; ``{type: rand_fgsm, label: predicted}`` is the paper's RAND+FGSM.
        alpha: α, the share of the clean loss.
        eps_warmup_epochs: epochs over which ε grows from 0 to its full size.
        bn: BatchNorm's statistics during the attack on f and the loss; static networks use their running ones.

    Reference:
        Tramèr, Kurakin, Papernot, Goodfellow, Boneh, McDaniel, Ensemble Adversarial Training: Attacks and Defenses,
        2018.
    """

    def __init__(
        self,
        sources: Sequence[SourceNetwork],
        attack: OneAttack = AttackConfig("fgsm", "16/255", label="predicted"),
        alpha: float = 0.5,
        eps_warmup_epochs: int = 0,
        bn: BatchNormMode = "train",
    ) -> None:
        super().__init__(attack, eps_warmup_epochs, bn)
        if not sources:
            raise ValueError("sources must name at least one trained network; without any, train Kurakin or Madry.")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}.")
        self.alpha = alpha
        self._sources = tuple(source.load() for source in sources)

    def loss(self, network: Network, batch: Batch, *, epoch: int) -> Loss:  # type: ignore[override]
        """Attack the batch's source, then one forward pass of the images and one of their neighbours."""
        keys = self.keys(batch, epoch)
        source = self._source(network, self.keys(batch._replace(index=batch.index_on_host), epoch), batch.image.device)
        x_adv = self.attack_at(epoch)(source, batch.image, batch.label, keys=keys)
        logits, adv_logits = network(batch.image), network(x_adv)
        loss_clean = cross_entropy(logits, batch.label).mean()
        loss_adv = cross_entropy(adv_logits, batch.label).mean()
        parts = {
            "loss_clean": loss_clean.detach(),
            "loss_adv": loss_adv.detach(),
            "acc": accuracy(logits, batch.label),
            "adv_acc": accuracy(adv_logits, batch.label),
        }
        return Loss(self.alpha * loss_clean + (1 - self.alpha) * loss_adv, parts)

    def check(self, network: Network) -> None:
        """See :class:`~lightning_advinterp.objectives.objective.Objective`; sources must answer in f's classes."""
        super().check(network)
        for number, source in enumerate(self._sources):
            what = f"sources[{number}] ({source.origin.weights or source.name})"
            if source.num_classes != network.num_classes:
                raise ValueError(
                    f"{what} has {source.num_classes} outputs, the trained network {network.num_classes}; take a "
                    "source of the same classes."
                )
            require_same_outputs(
                source.origin, network.origin, f"{what} and the trained network", "take a source of the same classes"
            )
            try_network(source, network.input_size, remedy="It sees the images of the training; take another source.")

    def check_even_passes(self) -> None:
        """See :class:`~lightning_advinterp.objectives.objective.Objective`; each process draws its own source."""
        super().check_even_passes()
        if self.bn == "train":
            raise ValueError(
                "sync_batchnorm with bn: train makes the attack on the trained network wait for all processes, some of "
                "which attack another source; set the objective's bn to eval."
            )

    def source_number(self, keys: Tensor) -> int:
        """Return which source attacks the batch of these keys (int64 ``[B]``, in any order); the last is f."""
        draw = uniform(keys.sum()[None], (), stream=_SOURCE_STREAM)
        return int(draw * (len(self._sources) + 1))

    def _source(self, network: Network, keys: Tensor, device: torch.device) -> Network:
        number = self.source_number(keys)
        if number == len(self._sources):
            return network
        source = self._sources[number]
        if source.num_classes != network.num_classes:
            raise ValueError(
                f"sources[{number}] ({source.name}) has {source.num_classes} outputs, the trained network "
                f"{network.num_classes}; take a source of the same classes."
            )
        return source.to(device)
