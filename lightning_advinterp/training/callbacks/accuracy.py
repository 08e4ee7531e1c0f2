"""Accuracy under validation attacks, every epoch."""

from typing import ClassVar, final

from lightning_advinterp.analyses.accuracy.question import Accuracy
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import Attacks
from lightning_advinterp.data.loaders import Workers
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback


@final
class AccuracyCallback(AnalysisCallback):
    """Logs ``val/{attack}_acc`` for every configured attack.

    Paste into a configuration::

        accuracy:
          attacks:
            - {type: fgsm, eps: 4/255}
            - {type: pgd, eps: 4/255, steps: 10}
          limit: 500

    Args:
        attacks: the attacks; their names must differ.
        every_n_epochs: how often.
        limit: number of validation images, a seeded subset; ``null`` takes all.
        batch_size: images at a time.
        seed: draws the subset and the attacks' random numbers.
        num_workers: processes that load its images; ``null``: on an accelerator as many as the training has, else 0.
    """

    budgeted: ClassVar[bool] = False
    announced: ClassVar[bool] = False
    drawn: ClassVar[tuple[str, ...] | None] = ()

    def __init__(
        self,
        attacks: Attacks = (AttackConfig("fgsm", "4/255"), AttackConfig("pgd", "4/255")),
        every_n_epochs: int = 1,
        limit: int | None = 500,
        batch_size: int = 100,
        seed: int = 0,
        num_workers: Workers | None = None,
    ) -> None:
        super().__init__([Accuracy()], attacks, every_n_epochs, limit, batch_size, seed, num_workers=num_workers)

    def headlines(self) -> list[str]:
        """Return the accuracy under every attack."""
        return [f"val/{name}_acc" for name in self.attacks()]
