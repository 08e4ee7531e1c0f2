"""Network dissection during training: Table 1 of Dong et al. 2022 as a live curve."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import pytorch_lightning as pl

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.unit_images import UnitImages
from lightning_advinterp.analyses.dissection.analysis import DissectionAnalysis
from lightning_advinterp.analyses.dissection.config import CONTROLS, DissectionConfig
from lightning_advinterp.analyses.dissection.figures import best_units, category_bars, detector_panel
from lightning_advinterp.analyses.dissection.pictures import detector_pictures
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.names import markdown_cell
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.data.broden import ConceptSet, check_concepts, open_concepts
from lightning_advinterp.data.labels import balanced_subset
from lightning_advinterp.report.table import summary_of
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback, Seen
from lightning_advinterp.training.module import RobustClassifier

DEFAULT = AttackConfig("targeted_optimization", name="adversarial", weight=0.1, steps=10)
"""P4's targeted attack; λ = 0.1 reaches 97 % on ResNet-18 (docs/results.md)."""


@final
class DissectionCallback(AnalysisCallback):
    """Logs ``dissection/{images}/{category}``: shares of units that detect concepts, real and under attack.

    Beside them ``dissection/{control}/{category}``, the same of the controls on real images. Also
    ``dissection/{images}/unique`` (unique detectors), ``dissection/retention`` (detectors that keep their concept under
    the attack) beside ``dissection/retention_noise`` and ``dissection/retention_split_half``; and in TensorBoard the
    bars of Table 1, the best detectors' images, and the table as text.

    Paste into a configuration::

        dissection:
          concepts: data/broden1_224      # or concept_world, which needs no download
          every_n_epochs: 5
          limit: 500

    Args:
        concepts: folder of a set in Broden's format, or ``concept_world``.
        attacks: made on the network as it is; ``[]`` for real images alone. The first one's retention has the plain
            names.
        settings: how is counted, and of which layers.
        units: so many detectors are drawn.
        every_n_epochs: how often.
        limit: number of concept images, a seeded choice; ``null`` takes all (1,000 of the concept world).
        batch_size: images at a time.
        seed: draws the images, the attack's random numbers and the controls (``settings.seed`` is not looked at).
    """

    announced = True

    def __init__(
        self,
        concepts: str = "concept_world",
        attacks: tuple[AttackConfig, ...] = (DEFAULT,),
        settings: DissectionConfig = DissectionConfig(),  # noqa: B008  # frozen
        units: int = 6,
        every_n_epochs: int = 1,
        limit: int | None = 200,
        batch_size: int = 50,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_epochs, limit, batch_size, seed)
        self.concepts, self.settings, self.units = concepts, settings, units
        self._attacks = create_attacks(attacks)
        self._set: ConceptSet | None = None

    def prepare(self, module: RobustClassifier, data: Any) -> None:
        """Open the set, choose the images as ``evaluate.py`` does, and see that they can be read."""
        if self._set is None:
            try:
                whole = open_concepts(self.concepts, module.network.input_size, n=self.limit or 1000)
                limit = len(whole) if self.limit is None else self.limit
                chosen = whole.only(balanced_subset([0] * len(whole), limit, self.seed))
                check_concepts(chosen)
            except (ValueError, FileNotFoundError) as error:
                raise type(error)(f"dissection.concepts: {error}") from None
            self._set = chosen
        super().prepare(module, data)

    def dataset(self, trainer: pl.Trainer, pl_module: RobustClassifier) -> ConceptSet:
        """Return the chosen concept images."""
        assert self._set is not None
        return self._set

    def analyses(self) -> Sequence[Analysis]:
        """Return a fresh dissection, and what keeps the images of its units."""
        assert self._set is not None
        dissection = DissectionAnalysis(self._set, self._attacks, replace(self.settings, seed=self.seed))
        return [dissection, UnitImages(self._attacks, self.settings.layers)]

    def attacks(self) -> Mapping[str, Attack]:
        """Return the attacks by name."""
        return self._attacks

    def scalars(self, results: Mapping[str, Result]) -> dict[str, float]:
        """Return ratios, unique detectors and retention."""
        (first, *_) = (*self._attacks, "")
        return {
            f"dissection/{key.removeprefix(f'{first}/') if '/retention' in key else key}": value
            for key, value in results["dissection"].scalars.items()
        }

    def draw(self, writer: Any, trainer: pl.Trainer, seen: Seen) -> None:
        """Draw the bars, the best detectors, and the table."""
        tables, step = seen.results["dissection"].tables, trainer.global_step
        summary, title = tables["dissection_summary"], f"epoch {trainer.current_epoch + 1}"
        writer.add_figure("dissection/categories", category_bars(summary, title), step, close=False)
        writer.add_text("dissection/table", _as_text(summary_of(summary)), step)
        best = best_units(tables["dissection"], self.units)
        if best:
            (images,) = (one for one in seen.analyses if isinstance(one, UnitImages))
            network, device = seen.module.network, seen.module.device
            options = {"seed": self.seed, "device": device, "batch_size": self.batch_size}
            shown = detector_pictures(
                network, seen.dataset, seen.attacks, tables["dissection"], best, images, **options
            )
            writer.add_figure("dissection/units", detector_panel(shown, title), step, close=False)


def _as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the shares in % as a Markdown table: kinds of images and controls down, categories across."""
    kinds, categories = (list(dict.fromkeys(row[key] for row in rows)) for key in ("images", "category"))
    shares = {kind: {row["category"]: row["ratio"] for row in rows if row["images"] == kind} for kind in kinds}
    real = [row for row in rows if row["images"] == REAL]
    shares |= {f"control: {name}": {row["category"]: row[name] for row in real} for name in CONTROLS if name in real[0]}
    lines = [
        "| % of units | " + " | ".join(map(markdown_cell, categories)) + " |",
        "| --- " * (len(categories) + 1) + "|",
    ]
    for kind, found in shares.items():
        lines.append(
            "| "
            + " | ".join([markdown_cell(kind), *(f"{100 * found[category]:.1f}" for category in categories)])
            + " |"
        )
    return "\n".join(lines)
