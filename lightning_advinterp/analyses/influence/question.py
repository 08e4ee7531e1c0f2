"""The question of influence: which training images a prediction rests on, and how easily that changes."""

from dataclasses import dataclass, replace
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.influence.analysis import InfluenceAnalysis
from lightning_advinterp.analyses.influence.columns import INFLUENCE
from lightning_advinterp.analyses.influence.config import InfluenceConfig, choose_images, make_task
from lightning_advinterp.analyses.influence.figures import exemplars_page
from lightning_advinterp.core.result import Result
from lightning_advinterp.data.images import ImageSet
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
        config = replace(self, seed=scene.seed)
        task = make_task(_labels(images), images.indices, config)
        return [InfluenceAnalysis(config, task, images, scene.class_names)]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the page of exemplars."""
        return {"influence": exemplars_page(result, title)} if result.tables["influence_exemplars"] else {}

    def brief(self, result: Result, title: str) -> Table:
        """Return how alike the influence of all training images is before and after every attack."""
        rows = result.tables["influence_summary"]
        columns = ["attack", "eps", "n", "label_kept", "spearman", "spearman_kept", "spearman_other", "overlap"]
        if self.raised is not None:
            columns += ["raised_rank_before", "raised_rank", "raised_top"]
        columns += ["no_influence"] if any(row.get("no_influence") for row in rows) else []
        return brief_table(rows, columns, f"{title}: influence before and after, medians")

    def choose(self, images: ImageSet) -> list[int]:
        """Return the places of the images of few classes."""
        return choose_images(_labels(images), images.classes, self)


def _labels(images: ImageSet) -> list[int]:
    """Return the labels of images.

    Raises:
        ValueError: if they are not known before images are read.
    """
    if images.labels is None:
        raise ValueError(
            "influence: the labels of the images must be known before any is read, since few classes are chosen by "
            "them; give the data set its labels as an attribute targets."
        )
    return list(images.labels)
