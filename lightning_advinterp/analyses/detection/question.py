"""The question of detection: do scores tell attacks and errors, also where the attack knows the score?"""

import logging
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.detection.analysis import DetectionAnalysis
from lightning_advinterp.analyses.detection.columns import DETECTION
from lightning_advinterp.analyses.detection.concepts import unit_concepts
from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.analyses.detection.figures import detectors, risk_coverage
from lightning_advinterp.analyses.detection.parts import check_spread, divide
from lightning_advinterp.analyses.detection.scorer import NEAR_CLASSES
from lightning_advinterp.analyses.semantics.question import class_space
from lightning_advinterp.analyses.tracing.concepts import concepts_of, stored_dissection
from lightning_advinterp.core.columns import TableSpec
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.brief import brief_table
from lightning_advinterp.units.spaces import unit_layers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection(DetectionConfig, Question):
    """Whether scores tell attacks and errors, also where the attack knows the score."""

    name: ClassVar[str] = "detection"
    companions: ClassVar[tuple[str, ...]] = ("semantics", "dissection")
    follows: ClassVar[tuple[str, ...]] = ("dissection",)
    tables: ClassVar[tuple[TableSpec, ...]] = DETECTION

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis."""
        images = scene.images
        numbers, labels = list(images.indices), images.labels
        parts = divide(numbers, self, scene.seed)
        if labels is not None and "mahalanobis" in self.scores:
            check_spread([label for number, label in zip(numbers, labels, strict=True) if number in parts.learn])
        similarity = self._similarity(scene) if set(self.scores) & set(NEAR_CLASSES) else None
        concepts = self._concepts(scene) if "concept_disagreement" in self.scores else None
        if len(scene.attacks) == 1:
            logger.warning(
                "detection: %s is the only attack, so that the rows `worst` say no more than its own; a detector is as "
                "good as under the worst of several: --attack fgsm,pgd,cw,apgd,apgd_t,fab_t,square, --transfer_from.",
                *scene.attacks,
            )
        return [
            DetectionAnalysis(self, parts, scene.attacks, similarity=similarity, concepts=concepts, seed=scene.seed)
        ]

    def _concepts(self, scene: Scene) -> tuple[int, ...] | None:
        """Return the concepts of a dissection; None where there is none."""
        dissection = scene.found.get("dissection")
        if self.dissection is not None:
            dissection = stored_dissection(self.dissection, scene.network, "detection.dissection")
        if dissection is None or scene.network.phi is None:
            return None
        rows = concepts_of(scene.network, unit_layers(scene.network, "last"), dissection)
        threshold = scene.questions["dissection"].iou
        return unit_concepts(scene.network, rows, threshold, demanded=self.dissection is not None)

    def _similarity(self, scene: Scene) -> Tensor:
        """Return how near the network's outputs are to each other: a prediction may lie outside the images' classes."""
        config = replace(scene.questions["semantics"], target_classes="all")
        return class_space(config, scene).similarity.to(torch.float64)

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the detectors, and risk over coverage."""
        figures = {}
        if result.tables["detection"]:
            figures["detection"] = detectors(result.tables["detection"], title)
        if result.tables["risk_coverage"]:
            tables = result.tables
            figures["risk_coverage"] = risk_coverage(tables["risk_coverage"], tables["errors_summary"], title)
        return figures

    def brief(self, result: Result, title: str) -> Table:
        """Return all detectors under all attacks."""
        columns = ["score", "images", "eps", "adaptive", "n", "auroc", "tpr_at_5", "evaded"]
        return brief_table(result.tables["detection"], columns, f"{title}: detection at {self.rate:.0%} false alarms")

    @property
    def most_images(self) -> int | None:
        """As many as all three parts take."""
        return self.learn + self.calibrate + self.report
