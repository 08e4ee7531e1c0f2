"""Watches for the two ways in which single-step adversarial training fails silently."""

import logging
from typing import Any, cast, final

import pytorch_lightning as pl
import torch

from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.attacks.prediction.presets import create_attack
from lightning_advinterp.attacks.prediction.stored import StoredAttack
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.loaders import read_batch
from lightning_advinterp.data.sampler import EpochDependent
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.objectives.consistency import squared_distance
from lightning_advinterp.training.logged import reduce_logged
from lightning_advinterp.training.module import RobustClassifier

_log = logging.getLogger(__name__)


@final
class GuardCallback(pl.Callback):
    """A guard against catastrophic overfitting and against feature collapse.

    At the end of every training epoch a fixed batch of training images is attacked by PGD, and logged are
    ``guard/pgd_acc``, ``guard/phi_norm`` (mean ‖φ(x)‖) and ``guard/phi_shift`` (mean ‖φ(x) − φ(x*)‖²/‖φ(x)‖²). If
    the accuracy falls by more than ``max_drop`` below its best so far, FGSM training has overfitted to its own
    attack (Wong et al. 2020); a ‖φ‖ below ``min_norm_share`` of the first epoch's means that the consistent loss
    is being met by shrinking the representation. Both warn; the first can stop the training.

    Args:
        images: size of the fixed batch.
        attack: the attack; PGD-5 as in the authors' code, at 4/255.
        max_drop: tolerated fall of the accuracy, as a share. (The authors compare with the epoch before; the best
            epoch so far also notices a slow decline.)
        min_norm_share: tolerated shrinking of ‖φ‖.
        stop: end the training at catastrophic overfitting.
        seed: draws the batch and the attack's random numbers.
    """

    def __init__(
        self,
        images: int = 128,
        attack: OneAttack = AttackConfig("pgd", "4/255", steps=5),
        max_drop: float = 0.2,
        min_norm_share: float = 0.1,
        stop: bool = False,
        seed: int = 0,
    ) -> None:
        self.attack = create_attack(attack)
        if isinstance(self.attack, StoredAttack):
            raise ValueError("guard.attack: a guard attacks the network as it learns; stored images do not follow it.")
        self.images, self.max_drop, self.min_norm_share = images, max_drop, min_norm_share
        self.stop, self.seed = stop, seed
        self._batch: Batch | None = None
        self._best_accuracy = 0.0
        self._first_norm: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must remember."""
        return {"best_accuracy": self._best_accuracy, "first_norm": self._first_norm}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the interrupted run was."""
        self._best_accuracy, self._first_norm = state_dict["best_accuracy"], state_dict["first_norm"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load the batch, with the first epoch's augmentation also where a run goes on later.

        What the augmentation draws comes from a generator that is put back.
        """
        data: Any = cast(Any, trainer.train_dataloader).dataset
        if isinstance(data, EpochDependent):
            data = data.at_epoch(0)
        images = as_image_set(data)
        chosen = subset_indices(len(images), self.images, self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            batch = read_batch(images, chosen.tolist())
        self._batch = Batch(*(field.to(pl_module.device) for field in batch)).to_float()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, log, warn, and stop if told to."""
        assert isinstance(pl_module, RobustClassifier)
        assert self._batch is not None
        reduce_logged(trainer)
        # Running statistics differ between processes, but all must come to one decision: else some would stop alone.
        measured = {name: _mean_over_processes(trainer, value) for name, value in self._measure(pl_module).items()}
        for name, value in measured.items():
            pl_module.log(f"guard/{name}", value, sync_dist=trainer.world_size > 1)
        if measured["pgd_acc"] < self._best_accuracy - self.max_drop:
            _log.warning(
                "Catastrophic overfitting? PGD accuracy on a fixed training batch fell from %.1f %% to %.1f %%. "
                "Try a multi-step inner attack, a smaller eps, or more weight on the consistent loss.",
                100 * self._best_accuracy,
                100 * measured["pgd_acc"],
            )
            trainer.should_stop = trainer.should_stop or self.stop
        self._best_accuracy = max(self._best_accuracy, measured["pgd_acc"])
        norm = measured.get("phi_norm")
        if norm is not None:
            self._first_norm = self._first_norm or norm
            if norm < self.min_norm_share * self._first_norm:
                _log.warning(
                    "Feature collapse? The norm of φ fell from %.3g to %.3g; "
                    "try distance: relative, or a smaller weight of the consistent loss.",
                    self._first_norm,
                    norm,
                )

    def _measure(self, pl_module: RobustClassifier) -> dict[str, float]:
        assert self._batch is not None
        network, (x, y, index) = pl_module.network, self._batch
        layers = [network.phi] if network.phi else []
        with frozen_eval(network), torch.no_grad():
            x_adv = self.attack(network, x, y, keys=sample_keys(index, seed=self.seed))
            logits, adversarial = network.forward_features(x_adv, layers)
            measured = {"pgd_acc": float((logits.argmax(dim=1) == y).float().mean())}
            if network.phi:
                phi = network.forward_features(x, layers)[1][network.phi]
                shift = squared_distance(phi, adversarial[network.phi], "relative")
                measured["phi_norm"] = float(phi.flatten(1).norm(dim=1).mean())
                measured["phi_shift"] = float(shift.mean())
        return measured


def _mean_over_processes(trainer: pl.Trainer, value: float) -> float:
    if trainer.world_size == 1:
        return value
    return float(trainer.strategy.reduce(torch.tensor(value, device=trainer.strategy.root_device), reduce_op="mean"))
