"""The question of semantics: whether the classes that drive a unit stay the same under attack."""

from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis
from lightning_advinterp.analyses.semantics.columns import SEMANTICS
from lightning_advinterp.analyses.semantics.config import SemanticsConfig
from lightning_advinterp.analyses.semantics.figures import by_success, curve, depth, images_told, scatter
from lightning_advinterp.core.result import Result
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.report.brief import brief_table


@dataclass(frozen=True)
class Semantics(SemanticsConfig, Question):
    """Whether the classes that drive a unit stay the same under attack."""

    name: ClassVar[str] = "semantics"
    uses: ClassVar[frozenset[str]] = frozenset({"layers"})
    companions: ClassVar[tuple[str, ...]] = ("panels",)
    chooses_targets_among_images: ClassVar[bool] = True
    tables = SEMANTICS

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis of units' meanings."""
        return [
            SemanticsAnalysis(
                scene.attacks,
                classes=class_space(self, scene),
                layers=scene.layers_or(self.layers),
                share=self.share,
                reduce=self.reduce,
                show=scene.questions["panels"].images,
                sample=self.sample,
                by_success=self.by_success,
                bins=self.bins,
                binning=self.binning,
                seed=scene.seed,
            )
        ]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the profile over depth, the curve and the scatter of CS1 and CS2."""
        tables = result.tables
        figures = {"semantics_depth": depth(tables["semantics_layers"], title)}
        if tables["semantics_curve"]:
            figures["semantics_curve"] = curve(tables["semantics_smooth"], tables["semantics_curve"], title)
            figures["semantics_scatter"] = scatter(tables["semantics"], tables["semantics_levels"], title)
        if tables["semantics_success"]:
            figures["semantics_success"] = by_success(tables["semantics_success"], title)
        return figures

    def brief(self, result: Result, title: str) -> Table:
        """Return the last layer's means over units."""
        rows = result.tables["semantics_layers"]
        last = [row for row in rows if row["layer"] == rows[-1]["layer"]] if rows else []
        columns = ("layer", "images", "eps", "lc", "cs1", "chance_cs1", "cs2", "chance_cs2", "cs_halves")
        head = f"{title}: meaning of the units of the last layer"
        if last:
            levels = f"LC: floor {last[0]['floor']:.2f}, chance {last[0]['chance_lc']:.2f}"
            head += f"\n{levels}; {images_told(last[0])}"
        return brief_table(last, columns, head)


def class_space(config: SemanticsConfig, scene: Scene) -> ClassSpace:
    """Return the classes that are compared.

    Raises:
        ValueError: if it is unknown what the network's outputs are called.
    """
    classes, outputs = scene.classes, scene.network.num_classes
    if len(classes) != outputs:
        raise ValueError(
            f"semantics: what the network's {outputs} outputs are called is unknown ({len(classes)} names); it needs "
            "images in folders named by wnids, a data module that names its classes, a checkpoint that knows, or "
            "classes, their names in order: [cat, dog] or a file."
        )
    key = repr(config)
    if key not in scene.class_spaces:  # WordNet takes a while
        scene.class_spaces[key] = config.classes(classes, scene.class_names, scene.images)
    return scene.class_spaces[key]
