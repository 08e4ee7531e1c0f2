"""The question of curvature: how strongly the class score bends, and in which directions explanations are fragile."""

from dataclasses import dataclass, replace
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.curvature.analysis import CurvatureAnalysis
from lightning_advinterp.analyses.curvature.columns import CURVATURE
from lightning_advinterp.analyses.curvature.config import CurvatureConfig
from lightning_advinterp.analyses.curvature.figures import beta_figure, walk_figure
from lightning_advinterp.analyses.curvature.swept_networks import checkpoint_paths, load_beside
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.brief import brief_table


@dataclass(frozen=True)
class Curvature(CurvatureConfig, Question):
    """How strongly the class score bends."""

    name: ClassVar[str] = "curvature"
    attacked: ClassVar[bool] = False
    tables = CURVATURE

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis."""
        beside = load_beside(self.trained, scene.network)
        return [CurvatureAnalysis(replace(self, seed=scene.seed), beside)]

    @property
    def files(self) -> tuple[str, ...]:
        """The checkpoints of the sweep."""
        return tuple(checkpoint_paths(self.trained))

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the walks and the sweep over β, where there are any."""
        figures = {}
        if walks := result.tables.get("curvature_walk_summary"):
            figures["curvature_walk"] = walk_figure(walks, title)
        if betas := result.tables.get("curvature_beta_summary"):
            figures["curvature_beta"] = beta_figure(betas, result.tables["curvature_smoothgrad_summary"], title)
        return figures

    def brief(self, result: Result, title: str) -> Table:
        """Return all measures with their quantiles."""
        rows = result.tables["curvature_summary"]
        columns = ["measure", "median", "low", "high", "share", "n"]
        columns += ["missing"] if any(row.get("missing") for row in rows) else []
        return brief_table(rows, columns, f"{title}: curvature")

    @property
    def most_images(self) -> int | None:
        """At most ``limit``."""
        return self.limit
