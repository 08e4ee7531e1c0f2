"""The question of fragility: how far explanations change under attacks that keep the prediction."""

from dataclasses import dataclass, replace
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.fragility.analysis import FragilityAnalysis
from lightning_advinterp.analyses.fragility.columns import FRAGILITY
from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.analyses.fragility.figures import fragility_convergence, fragility_curves, fragility_panels
from lightning_advinterp.analyses.fragility.learnt_patterns import learn_missing_patterns
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.report.brief import brief_table


@dataclass(frozen=True)
class Fragility(FragilityConfig, Question):
    """How far explanations change under attacks that keep the prediction."""

    name: ClassVar[str] = "fragility"
    attacked: ClassVar[bool] = False
    main_figure: ClassVar[str] = "curves"
    tables = FRAGILITY

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis; its attacks are its own."""
        if self.patterns is not None and self.pattern_images:
            images = scene.images if scene.every_image is None else scene.every_image
            size = {"count": self.pattern_images, "seed": scene.seed, "batch_size": self.batch_size}
            try:
                learn_missing_patterns(self.patterns, scene.network, images, **size)
            except ValueError as error:
                raise ValueError(f"fragility.patterns: {error}") from None
        return [FragilityAnalysis(replace(self, seed=scene.seed))]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the measures over ε, the attacks' courses, and images with their maps."""
        tables = result.tables
        if not tables["fragility"]:
            return {}
        figures = {"fragility": fragility_curves(tables["fragility_summary"], title)}
        if tables["fragility_convergence"]:
            figures["fragility_convergence"] = fragility_convergence(tables["fragility_convergence"], title)
        panels = fragility_panels(result, title)
        return figures | {f"fragility_{method}": figure for method, figure in panels.items()}

    def brief(self, result: Result, title: str) -> Table:
        """Return every method under every attack at its largest radius."""
        largest: dict[tuple[str, str], Row] = {}
        for row in result.tables["fragility_summary"]:
            key = row["method"], row["attack"]
            if key not in largest or (row["eps"] or 0) >= (largest[key]["eps"] or 0):
                largest[key] = row
        columns = ["method", "attack", "eps", "n", "success", "topk", "topk_other", "spearman", "spearman_other"]
        columns += ["no_map"] if any(row.get("no_map") for row in largest.values()) else []
        return brief_table(list(largest.values()), columns, f"{title}: maps before and after, medians")

    @property
    def files(self) -> tuple[str, ...]:
        """The files of patterns but one that is learnt, which follows from network and data."""
        files = (method.patterns for method in self.chosen_methods() if method.patterns is not None)
        return tuple(file for file in files if file != self.patterns or not self.pattern_images)

    @property
    def most_images(self) -> int | None:
        """At most ``limit``."""
        return self.limit
