"""Accuracy under validation attacks, every epoch."""

from collections.abc import Mapping, Sequence
from typing import final

from lightning_advinterp.analyses.accuracy.analysis import AccuracyAnalysis
from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.result import Result
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
    """

    def __init__(
        self,
        attacks: tuple[AttackConfig, ...] = (AttackConfig("fgsm", "4/255"), AttackConfig("pgd", "4/255")),
        every_n_epochs: int = 1,
        limit: int | None = 500,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_epochs, limit, batch_size, seed)
        self._attacks = create_attacks(attacks)

    def analyses(self) -> Sequence[Analysis]:
        """Return the accuracy analysis."""
        return [AccuracyAnalysis(self._attacks)]

    def attacks(self) -> Mapping[str, Attack]:
        """Return the configured attacks by name."""
        return self._attacks

    def scalars(self, results: Mapping[str, Result]) -> dict[str, float]:
        """Return the accuracies under attack; the clean one comes from the whole validation set elsewhere."""
        scalars = results["accuracy"].scalars
        return {f"val/{name}_acc": scalars[f"{name}_acc"] for name in self._attacks}
