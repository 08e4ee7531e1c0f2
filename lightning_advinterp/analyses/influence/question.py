"""The question of influence: which training images a prediction rests on, and how easily that changes."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.influence.analysis import InfluenceAnalysis
from lightning_advinterp.analyses.influence.columns import INFLUENCE
from lightning_advinterp.analyses.influence.config import InfluenceConfig, choose_images, make_task
from lightning_advinterp.analyses.influence.figures import exemplars_page
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.brief import brief_table


@dataclass(frozen=True)
class Influence(InfluenceConfig, Question):
    """Which training images a prediction rests on."""

    name: ClassVar[str] = "influence"
    attacked: ClassVar[bool] = False
    main_figure: ClassVar[str] = "exemplars"
    tables = INFLUENCE

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis of the images that were chosen."""
        images = scene.images
        numbers = list(images.indices)
        labels = images.labels if hasattr(images, "labels") else [images.dataset.labels[number] for number in numbers]
        config = replace(self, seed=scene.seed)
        return [InfluenceAnalysis(config, make_task(labels, numbers, config), images, scene.class_names)]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the page of exemplars."""
        return {"influence": exemplars_page(result, title)} if result.tables["influence_exemplars"] else {}

    def brief(self, result: Result, title: str) -> Table:
        """Return how alike the influence of all training images is before and after every attack."""
        rows = result.tables["influence_summary"]
        columns = ["attack", "eps", "n", "label_kept", "spearman", "spearman_kept", "spearman_other", "overlap"]
        columns += ["no_influence"] if any(row.get("no_influence") for row in rows) else []
        return brief_table(rows, columns, f"{title}: influence before and after, medians")

    def choose(self, images: Any) -> list[int]:
        """Return the places of the images of few classes."""
        return choose_images(list(images.labels), list(images.classes), self)
