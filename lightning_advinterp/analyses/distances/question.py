"""The question of distances: whether adversarial images lie nearer their source's or their target's class."""

from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.distances.analysis import DistancesAnalysis
from lightning_advinterp.analyses.distances.columns import DISTANCES
from lightning_advinterp.analyses.semantics.figures import ratio_histogram
from lightning_advinterp.analyses.semantics.question import class_space
from lightning_advinterp.core.result import Result
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

    def brief(self, result: Result, title: str) -> Table:
        """Return the ratios of every attack."""
        columns = ("images", "eps", "ratio", "median", "share_above_one", "n", "images_per_class")
        return brief_table(result.tables["distances"], columns, f"{title}: distances in feature space")
