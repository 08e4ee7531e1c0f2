"""Pictures for the loggers: real images, adversarial ones, and what was changed."""

from collections.abc import Sequence
from typing import final

import pytorch_lightning as pl
import torch

from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.attacks.prediction.presets import create_attack
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.loaders import read_batch
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.report.figures import attack_panel
from lightning_advinterp.report.save import draw_files
from lightning_advinterp.training.callbacks.showing import epoch_folder
from lightning_advinterp.training.callbacks.watched import validation_set
from lightning_advinterp.training.logs import log_figure, log_folder
from lightning_advinterp.training.module import RobustClassifier


@final
class PicturesCallback(pl.Callback):
    """Draws a few validation images beside their adversarial ones, with the network's predictions.

    Args:
        images: how many.
        attack: by which attack.
        every_n_epochs: how often.
        seed: draws the images and the attack's random numbers.
    """

    figure_formats: Sequence[str] = ("png",)
    """Of the figures beside the log, in ``images/epoch_<n>/``: ``png``, ``svg``, ``pdf``."""

    def __init__(
        self,
        images: int = 6,
        attack: OneAttack = AttackConfig("pgd", "4/255"),
        every_n_epochs: int = 1,
        seed: int = 0,
    ) -> None:
        self.images, self.every_n_epochs, self.seed = images, every_n_epochs, seed
        self.attack = create_attack(attack)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw on the first process."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if trainer.sanity_checking or not due or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, RobustClassifier)
        # Lightning's own validation may be in inference mode, in which attacks would have no gradients.
        with torch.inference_mode(False), torch.no_grad():
            self._draw(trainer, pl_module)

    def _draw(self, trainer: pl.Trainer, pl_module: RobustClassifier) -> None:
        images = validation_set(trainer)
        chosen = subset_indices(len(images), self.images, self.seed)
        batch = read_batch(images, chosen.tolist())
        batch = Batch(*(field.to(pl_module.device) for field in batch)).to_float()
        network = pl_module.network
        with frozen_eval(network), torch.no_grad():
            attack = self.attack.for_images(images).on(batch.index)
            x_adv = attack(network, batch.image, batch.label, keys=sample_keys(batch.index, seed=self.seed))
            before, after = network(batch.image).float().softmax(1), network(x_adv).float().softmax(1)
        names = pl_module.class_names
        captions = [
            (f"{_name(names, y)}\nseen as {_prediction(names, p)}", f"seen as\n{_prediction(names, q)}")
            for y, p, q in zip(batch.label.tolist(), before, after, strict=True)
        ]
        figure = attack_panel(batch.image.cpu(), x_adv.cpu(), captions, title=self.attack.name)
        log_figure(trainer.loggers, f"images/{self.attack.name}", figure, trainer.global_step)
        folder = log_folder(trainer)
        if folder is not None:
            figures = epoch_folder(folder, "images", trainer)
            draw_files(figures, self.attack.name, figure, self.figure_formats)


def _name(names: list[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else f"class {label}"


def _prediction(names: list[str], probabilities: torch.Tensor) -> str:
    label = int(probabilities.argmax())
    return f"{_name(names, label)} {100 * float(probabilities[label]):.0f} %"
