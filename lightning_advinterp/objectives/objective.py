"""What every training objective is: network and batch in, one scalar and its parts out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.prediction.grammar import OneAttack, one_attack
from lightning_advinterp.attacks.prediction.presets import create_attack
from lightning_advinterp.core.inputs import as_classes, check_pixels, check_range, looked_at
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.modes import BatchNormMode, check_batch_norm_mode, frozen_batch_norm
from lightning_advinterp.networks.network import Network


class Loss(NamedTuple):
    """What a training step minimises, and what it is made of.

    Attributes:
        total: scalar with a graph.
        parts: detached scalars for the log, by name.
        inputs: leaves beside the parameters that the backward pass shall reach too, so that their hooks fire.
    """

    total: Tensor
    parts: dict[str, Tensor]
    inputs: tuple[Tensor, ...] = ()


class Objective(ABC):
    """A training objective.

    Args:
        bn: which statistics BatchNorm uses, see :mod:`lightning_advinterp.networks.modes`.

    Attributes:
        seed: the run's seed; every sample's random draws come from (seed, epoch, index).
    """

    seed: int = 0
    _looked: bool = False

    def __init__(self, bn: BatchNormMode = "train") -> None:
        check_batch_norm_mode(bn)
        self.bn: BatchNormMode = bn

    def __call__(self, network: nn.Module, batch: Batch, *, epoch: int) -> Loss:
        """Return the loss of one batch.

        Args:
            network: in training mode.
            batch: images float ``[B, 3, H, W]`` in [0, 1], labels and indices ``[B]``.
            epoch: the current epoch, for the samples' random draws.

        Raises:
            ValueError: for labels that are no class indices of the network, or inside ``torch.inference_mode``.
        """
        if torch.is_inference_mode_enabled():
            raise ValueError(
                "a training objective needs gradients, which torch.inference_mode switches off for good; leave it."
            )
        batch = batch._replace(label=self._classes(network, batch))
        with frozen_batch_norm(network, self.bn), looked_at():
            return self.loss(network, batch, epoch=epoch)

    def _classes(self, network: nn.Module, batch: Batch) -> Tensor:
        label, classes = batch.label, getattr(network, "num_classes", None)
        label = as_classes(label, len(batch.image), "label", batch.image.device)
        # Looking at an accelerator's values waits for it: there only the first batch is looked at.
        accelerated = label.device.type != "cpu"
        if classes is not None and not (accelerated and self._looked):
            check_range(label, classes, "label")
        if accelerated and not self._looked and batch.image.is_floating_point():
            check_pixels(batch.image)
        self._looked = True
        return label

    @abstractmethod
    def loss(self, network: nn.Module, batch: Batch, *, epoch: int) -> Loss:
        """Return the loss; BatchNorm is already in the mode that ``bn`` names."""

    def check(self, network: Network) -> None:  # noqa: B027 (most objectives suit any network)
        """Refuse a network that lacks what the objective reads.

        Raises:
            ValueError: naming it.
        """

    def check_even_passes(self) -> None:  # noqa: B027 (most objectives are even)
        """Refuse settings by which processes may need different numbers of passes in one step.

        A BatchNorm that is shared by all processes makes each pass wait for all of them, for ever.

        Raises:
            ValueError: naming the setting.
        """

    def advice(self, replays: int) -> str | None:
        """Return what to tell the user of the data before the training; None: they suit.

        Args:
            replays: how often each batch comes in a row.
        """
        return None

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a resumed run must remember beside the network; nothing, for most."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027 (most have no state)
        """Take up where :meth:`state_dict` was asked; a run that starts afresh gives nothing."""

    def keys(self, batch: Batch, epoch: int) -> Tensor:
        """Return the samples' keys for this epoch, int64 ``[B]``."""
        return sample_keys(batch.index, seed=self.seed, epoch=epoch)


class AdversarialObjective(Objective):
    """A training objective with an inner attack.

    Args:
        attack: the inner maximisation.
        eps_warmup_epochs: epochs over which ε grows linearly, from 0 in the first to its full size; short trainings
            from scratch start far faster with it.
        bn: which statistics BatchNorm uses, in the attack and in the loss.
    """

    def __init__(self, attack: OneAttack, eps_warmup_epochs: int = 0, bn: BatchNormMode = "train") -> None:
        super().__init__(bn)
        if eps_warmup_epochs < 0:
            raise ValueError(f"eps_warmup_epochs must be 0 or more, got {eps_warmup_epochs}.")
        config = one_attack(attack)
        inner = create_attack(config, bn=bn)
        if not isinstance(inner, GradientAttack):
            raise ValueError(f"attack: {config.type} is for evaluations; training takes one that climbs a gradient.")
        self.attack, self.eps_warmup_epochs = inner, eps_warmup_epochs

    def check_even_passes(self) -> None:
        """See :class:`Objective`; an attack may not leave off early where its passes wait for other processes."""
        if self.bn == "train" and (self.attack.stop_after is not None or self.attack.restarts > 1):
            raise ValueError(
                "sync_batchnorm with bn: train makes every pass of the attack wait for all processes, but with "
                f"stop_after or restarts (got {self.attack.stop_after} and {self.attack.restarts}) they may stop at "
                "different times; leave these out, or set the objective's bn to eval."
            )

    def attack_at(self, epoch: int) -> GradientAttack:
        """Return the attack of this epoch."""
        if epoch >= self.eps_warmup_epochs:
            return self.attack
        return self.attack.scaled(epoch / self.eps_warmup_epochs)


def accuracy(logits: Tensor, label: Tensor) -> Tensor:
    """Share of the batch whose largest logit is the label's, a detached scalar."""
    return (logits.detach().argmax(dim=1) == label).float().mean()
