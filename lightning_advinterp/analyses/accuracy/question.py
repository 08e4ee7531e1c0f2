"""The questions of accuracy: how often the network is right, and what it takes each image for."""

from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from lightning_advinterp.analyses.accuracy.analysis import AccuracyAnalysis
from lightning_advinterp.analyses.accuracy.columns import ACCURACY, PREDICTIONS
from lightning_advinterp.analyses.accuracy.predictions import PredictionsAnalysis
from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.report.figures import accuracy_bars, radii_of, robustness_curve


@dataclass(frozen=True)
class Accuracy(Question):
    """How often the network is right, on real and attacked images."""

    name: ClassVar[str] = "accuracy"
    main_figure: ClassVar[str] = "bars"
    tables = ACCURACY

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis."""
        return [AccuracyAnalysis(scene.attacks)]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw top-1 and top-5 accuracy with their intervals, and the curve over ε where there are several."""
        rows = result.tables["accuracy"]
        figures = {"accuracy": accuracy_bars(rows, title)}
        return figures | ({"robustness": robustness_curve(rows, title)} if radii_of(rows) else {})

    def scalars(self, result: Result) -> dict[str, float]:
        """Return ``val/{attack}_acc``; the clean accuracy comes from the whole validation set elsewhere."""
        return {
            f"val/{row['images']}_acc": row["top1"]
            for row in result.tables["accuracy"]
            if row["images"] != REAL and row["top1"] is not None
        }


@dataclass(frozen=True)
class Predictions(Question):
    """What the network takes each image for."""

    name: ClassVar[str] = "predictions"
    tables = PREDICTIONS

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis."""
        return [PredictionsAnalysis(scene.attacks)]
