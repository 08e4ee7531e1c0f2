"""The question of sensitivity: which units an attack moves, and whether those are the ones that detect concepts."""

from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Earlier, Question, Scene
from lightning_advinterp.analyses.sensitivity.analysis import SensitivityAnalysis
from lightning_advinterp.analyses.sensitivity.columns import SENSITIVITY
from lightning_advinterp.analyses.sensitivity.config import SensitivityConfig
from lightning_advinterp.analyses.sensitivity.figures import change_figure, claim_figure, masking_figure
from lightning_advinterp.analyses.sensitivity.masking import MaskingAnalysis, masking_attacks
from lightning_advinterp.analyses.sensitivity.meanings import class_meanings
from lightning_advinterp.analyses.sensitivity.relations import ClassMeanings
from lightning_advinterp.analyses.sensitivity.sources import Dissected, dissection_before, known_concepts
from lightning_advinterp.analyses.sensitivity.tables import ALL
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.report.brief import brief_table

_WITHOUT = "no dissection: --concepts DIR or --sensitivity.dissection FOLDER adds the test of detectors"
_CLAIM = ("layer", "images", "pairs", "effect", "effect_low", "effect_high", "p_holm")
_CHANGES = ("layer", "images", "eps", "units", "change_sd", "sensitivity", "promoted", "suppressed", "n")


@dataclass(frozen=True)
class Sensitivity(SensitivityConfig, Question):
    """Which units an attack moves, beside noise as large, and whether they are those that detect concepts."""

    name: ClassVar[str] = "sensitivity"
    uses: ClassVar[frozenset[str]] = frozenset({"layers", "concepts"})
    companions: ClassVar[tuple[str, ...]] = ("dissection", "semantics")
    follows: ClassVar[tuple[str, ...]] = ("dissection",)
    chooses_targets_among_images: ClassVar[bool] = True
    main_figure: ClassVar[str] = "changes"
    tables = SENSITIVITY

    def earlier(self, scene: Scene) -> Earlier | None:
        """Dissect the concept images, where there is no dissection yet."""
        return dissection_before(self, scene)

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis of changes, and where it is asked for that of masked networks.

        Raises:
            ValueError: if there is no attack, or a stored dissection is none of this network.
        """
        if not scene.attacks:
            raise ValueError("sensitivity: it compares units under attack, and there is no attack; give --attack pgd.")
        dissected = known_concepts(self, scene)
        meanings, unknown = self._meanings(scene, dissected)
        origin = {"dissection": dissected.origin} if dissected.origin else {}
        changes = SensitivityAnalysis(
            scene.attacks,
            layers=scene.layers_or(self.layers),
            noise=self.noise,
            meanings=meanings,
            share=scene.questions["semantics"].share,
            concepts=dissected.concepts,
            dissected=dissected.images,
            caliper=self.caliper,
            seed=scene.seed,
            origin=origin | ({"classes": unknown} if unknown else {}),
        )
        if not self.mask_units:
            return [changes]
        attacks = masking_attacks(self)
        for attack in attacks.values():
            attack.check_network(scene.network)
        return [changes, MaskingAnalysis(changes, attacks, self.mask_units, self.mask_draws, scene.images)]

    def _meanings(self, scene: Scene, dissected: Dissected) -> tuple[ClassMeanings | None, str]:
        """Return which meanings are near which classes, or why that is unknown."""
        labels = [concept.label for concept in (dissected.concepts or {}).values() if concept.detects and concept.label]
        try:
            return class_meanings(scene.questions["semantics"], scene, self.near, labels), ""
        except ValueError as error:
            return None, str(error)

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the changes, the claim where there is a dissection, and the curves of masked networks."""
        tables = result.tables
        figures = {"sensitivity": change_figure(tables["sensitivity"], tables["sensitivity_layers"], title)}
        if tables.get("sensitivity_test"):
            figures["sensitivity_test"] = claim_figure(tables["sensitivity"], tables["sensitivity_test"], title)
        if tables.get("sensitivity_masking"):
            figures["sensitivity_masking"] = masking_figure(tables["sensitivity_masking"], title)
        return figures

    def brief(self, result: Result, title: str) -> Table:
        """Return the claim, or the last layer's changes where there is no dissection."""
        claim = [row for row in result.tables.get("sensitivity_test", []) if row["category"] == ALL]
        if claim:
            rows = [row for row in claim if row["reading"] == claim[0]["reading"]]
            return brief_table(rows, _CLAIM, f"{title}: sensitivity of detectors, beside other units like them")
        rows = _last_layer(result.tables["sensitivity_layers"])
        return brief_table(rows, _CHANGES, f"{title}: changes of units, in standard deviations\n{_WITHOUT}")


def _last_layer(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["layer"] == rows[-1]["layer"]]
