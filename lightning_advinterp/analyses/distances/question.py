"""The question of distances: whether adversarial images lie nearer their source's or their target's class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.distances.analysis import DistancesAnalysis
from lightning_advinterp.analyses.distances.columns import DISTANCES
from lightning_advinterp.analyses.distances.printed import candidates_beside_printed, ratios_side_by_side
from lightning_advinterp.analyses.semantics.figures import ratio_histogram
from lightning_advinterp.analyses.semantics.question import class_space
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.report.brief import brief_table


@dataclass(frozen=True)
class Distances(Question):
    """Whether adversarial images lie nearer their source's or their target's class; other settings are semantics'.

    Attributes:
        layer: in whose space distances are taken: phi, another layer, or LAYER@FILE.
    """

    layer: str = "phi"

    name: ClassVar[str] = "distances"
    tables = DISTANCES
    companions: ClassVar[tuple[str, ...]] = ("semantics",)
    chooses_targets_among_images: ClassVar[bool] = True
    main_figure: ClassVar[str] = "histogram"

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis of distances in feature space."""
        config = scene.questions["semantics"]
        classes = class_space(config, scene)
        options = {"layer": self.layer, "pool": config.pool, "seed": scene.seed}
        return [DistancesAnalysis(scene.attacks, classes=classes, **options)]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the histograms of the ratios."""
        rows = result.tables["distances"]
        return {"distances": ratio_histogram(result.tables["distances_histogram"], rows, title)} if rows else {}

    def side_by_side(
        self, results: Mapping[str, Result], printed: Mapping[str, Mapping[str, Mapping[str, float]]]
    ) -> Table:
        """Return the candidates for r1 and r2 of all networks, beside the printed values."""
        return ratios_side_by_side({name: result.tables["distances"] for name, result in results.items()}, printed)

    def beside_printed(self, result: Result, printed: Mapping[str, Mapping[str, float]]) -> list[Row]:
        """Return every candidate beside a network's printed r1 and r2."""
        return candidates_beside_printed(result.tables["distances"], printed)

    def brief(self, result: Result, title: str) -> Table:
        """Return the ratios of every attack."""
        columns = ("images", "eps", "ratio", "median", "share_above_one", "n", "images_per_class")
        return brief_table(result.tables["distances"], columns, f"{title}: distances in feature space")
