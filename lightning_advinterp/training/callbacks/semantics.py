"""What units mean, during training: LC, CS1, CS2 and distance ratios as live curves."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import pytorch_lightning as pl

from lightning_advinterp.analyses.base.classes import aim_within
from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.distances.analysis import DistancesAnalysis
from lightning_advinterp.analyses.panels.analysis import PanelsConfig, check_units, chosen_units, unit_rows
from lightning_advinterp.analyses.panels.figures import meaning_panel
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis
from lightning_advinterp.analyses.semantics.config import SemanticsConfig
from lightning_advinterp.analyses.semantics.figures import by_success, curve, depth
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.result import Result
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback, Seen
from lightning_advinterp.training.module import RobustClassifier


@final
class SemanticsCallback(AnalysisCallback):
    """Logs ``semantics/{layer}/{lc,cs1,cs2}`` and ``semantics/all/…``, ``distances/{images}/{ratio}``, and draws.

    In TensorBoard: the curve of CS1 and CS2 against LC, the profile over depth, and the images of the last layer's
    most and least consistent units.

    Paste into a configuration::

        semantics:
          limit: 1000
          settings: {layers: all_conv, share: 0.02}

    Args:
        attacks: whose images are compared with the real ones; the first one's scalars have the plain names.
        settings: layers, share of top images, classes.
        panels: which units are drawn, with their activation highlighted; ``null`` for none.
        every_n_epochs: how often.
        limit: number of validation images, a seeded choice; ``null`` takes all.
        batch_size: images at a time.
        seed: draws the images, the attacks' random numbers, halves and bootstraps.
    """

    announced = True

    def __init__(
        self,
        attacks: tuple[AttackConfig, ...] = (AttackConfig("fgsm", "4/255"),),
        settings: SemanticsConfig = SemanticsConfig(share=0.02),  # noqa: B008  # frozen
        panels: PanelsConfig | None = PanelsConfig(count=3, layers=1),  # noqa: B008
        every_n_epochs: int = 1,
        limit: int | None = 1000,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_epochs, limit, batch_size, seed)
        if panels is not None and panels.highlight != "activation":
            raise ValueError(
                f"panels.highlight must be activation during training, got {panels.highlight!r}: discrepancy maps take "
                "thousands of passes an image; draw them with evaluate.py."
            )
        self.settings, self.panels = settings, panels
        self._attacks = create_attacks(attacks)
        self._space: ClassSpace | None = None

    def prepare(self, module: RobustClassifier, data: Any) -> None:
        """Find the classes' synsets."""
        if self._space is None:
            classes = list(getattr(data, "classes", module.classes))
            names = list(getattr(data, "class_names", module.class_names))
            outputs = module.network.num_classes
            if len(classes) != outputs:
                raise ValueError(
                    f"semantics: what the network's {outputs} outputs are called is unknown ({len(classes)} names); "
                    "it needs a data module that names its classes, best by wnids."
                )
            validation = getattr(data, "val_dataset", None)
            self._space = self.settings.classes(classes, names, validation, key="semantics.settings")
            aim_within(self._attacks, self._space, outputs)
        super().prepare(module, data)
        if self.panels is not None:
            check_units(module.network, self.settings.layers, self.panels)

    def analyses(self) -> Sequence[Analysis]:
        """Return fresh analyses of meanings and of distances."""
        assert self._space is not None
        config = self.settings
        semantics = SemanticsAnalysis(
            self._attacks,
            classes=self._space,
            layers=config.layers,
            share=config.share,
            reduce=config.reduce,
            show=8 if self.panels is None else self.panels.images,
            sample=config.sample,
            by_success=config.by_success,
            seed=self.seed,
        )
        return [semantics, DistancesAnalysis(self._attacks, classes=self._space, pool=config.pool, seed=self.seed)]

    def attacks(self) -> Mapping[str, Attack]:
        """Return the attacks by name."""
        return self._attacks

    def scalars(self, results: Mapping[str, Result]) -> dict[str, float]:
        """Return all scalars that have a value."""
        every = results["semantics"].scalars | results["distances"].scalars
        return {key: value for key, value in every.items() if value == value}

    def draw(self, writer: Any, trainer: pl.Trainer, seen: Seen) -> None:
        """Draw the curve, the profile and the last layer's units."""
        tables, step = seen.results["semantics"].tables, trainer.global_step
        title = f"epoch {trainer.current_epoch + 1}"
        figures = {"depth": depth(tables["semantics_layers"], title)}
        if tables["semantics_curve"]:
            figures["curve"] = curve(tables["semantics_smooth"], tables["semantics_curve"], title)
        if tables["semantics_success"]:
            figures["success"] = by_success(tables["semantics_success"], title)
        if self.panels is not None:
            (analysis,) = (one for one in seen.analyses if isinstance(one, SemanticsAnalysis))
            units = chosen_units(tables["semantics"], self.panels)
            options = {"seed": self.seed, "device": seen.module.device, "batch_size": self.batch_size}
            shown = unit_rows(
                seen.module.network,
                seen.dataset,
                seen.attacks,
                analysis,
                tables["semantics"],
                units,
                self.panels,
                **options,
            )
            for layer, rows in shown.items():
                figures[f"panels/{layer}"] = meaning_panel(rows, seen.module.class_names, f"{layer}, {title}")
        for name, figure in figures.items():
            writer.add_figure(f"semantics/{name}", figure, step, close=False)
