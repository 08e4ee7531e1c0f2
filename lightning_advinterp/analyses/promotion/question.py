"""The question of promotion: which parts of a perturbation raise the target, and which lower the true class."""

from dataclasses import dataclass, replace
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.promotion.analysis import PromotionAnalysis
from lightning_advinterp.analyses.promotion.brief import promotion_brief
from lightning_advinterp.analyses.promotion.columns import PROMOTION
from lightning_advinterp.analyses.promotion.config import PromotionConfig
from lightning_advinterp.analyses.promotion.figures import promotion_figures
from lightning_advinterp.core.result import Result


@dataclass(frozen=True)
class Promotion(PromotionConfig, Question):
    """Which parts of a perturbation raise the target, and which lower the true class."""

    name: ClassVar[str] = "promotion"
    main_figure: ClassVar[str] = "shares"
    tables = PROMOTION

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis of all attacks."""
        return [PromotionAnalysis(replace(self, seed=scene.seed), scene.attacks, scene.class_names)]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw shares and their agreement, interpretability scores, and maps of a few images."""
        return promotion_figures(result, title)

    def brief(self, result: Result, title: str) -> Table:
        """Return the shares under all forms, and below them what holds under all of them."""
        return promotion_brief(result.tables, title)

    @property
    def most_images(self) -> int | None:
        """At most ``limit``."""
        return self.limit
