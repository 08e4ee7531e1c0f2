"""The question of tracing: which units made a prediction, and when and why the network errs."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.panels.units import NEAR
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis
from lightning_advinterp.analyses.semantics.question import class_space
from lightning_advinterp.analyses.sensitivity.meanings import concept_classes
from lightning_advinterp.analyses.tracing.analysis import SHOWN, TracingAnalysis
from lightning_advinterp.analyses.tracing.columns import TRACING
from lightning_advinterp.analyses.tracing.concepts import concepts_of, stored_dissection
from lightning_advinterp.analyses.tracing.config import TracingConfig
from lightning_advinterp.analyses.tracing.figures import errors_sheet
from lightning_advinterp.analyses.tracing.names import Names
from lightning_advinterp.analyses.tracing.page import prediction_pages
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.report.brief import brief_table
from lightning_advinterp.units.spaces import unit_layers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracing(TracingConfig, Question):
    """Which units made a prediction, and when and why the network errs."""

    name: ClassVar[str] = "tracing"
    tables = TRACING
    uses: ClassVar[frozenset[str]] = frozenset({"layers", "images"})
    companions: ClassVar[tuple[str, ...]] = ("semantics", "dissection")
    follows: ClassVar[tuple[str, ...]] = ("dissection",)
    chooses_targets_among_images: ClassVar[bool] = True
    main_figure: ClassVar[str] = "errors"

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the analysis.

        Raises:
            ValueError: naming the setting that does not suit the network or the images.
        """
        layers = scene.layers_or(self.layers)
        described = scene.files is not scene.images
        lacking = [name for name in self.baselines if name != "zero"]
        if lacking and not described:
            raise ValueError(
                f"tracing.baselines: {', '.join(lacking)} is taken from a data set; give --data DIR too, or zero."
            )
        if self.of == "attacked" and not scene.attacks and scene.files is None:
            raise ValueError("tracing.of: attacked images need an attack; give --attack NAME.")
        self._check_attacks(scene)
        space = self._space(scene) if described else None
        dissection = scene.found.get("dissection")
        if self.dissection is not None:
            dissection = stored_dissection(self.dissection, scene.network, "tracing.dissection")
        units = unit_layers(scene.network, layers)
        concepts = {} if dissection is None else concepts_of(scene.network, units, dissection)
        numbers = scene.files.indices if scene.files is not None and described else ()
        files = tuple(str(scene.files.path_of(number)) for number in numbers) if scene.files is not None else ()
        radii = {name: attack.eps for name, attack in scene.attacks.items()}
        threshold = scene.questions["dissection"].iou
        names = Names(
            tuple(scene.class_names),
            space,
            concepts,
            self.concept_classes(scene, concepts, threshold),
            threshold,
            radii,
            files,
        )
        return [
            TracingAnalysis(
                scene.attacks,
                images=scene.images,
                files=scene.files,
                layers=layers,
                config=self,
                meaning=None if space is None else self._meaning(scene, layers, space),
                names=names,
                seed=scene.seed,
            )
        ]

    def _check_attacks(self, scene: Scene) -> None:
        """Refuse attacks that know the data's images alone: stored ones, and those with a list of targets."""
        for name, attack in scene.attacks.items() if scene.files is not None else ():
            try:
                attack.for_images(scene.files)
            except (ValueError, FileNotFoundError) as error:
                raise ValueError(f"images: {name} has nothing for these files: {error}") from None

    def concept_classes(
        self, scene: Scene, concepts: Mapping[tuple[str, int], Row], threshold: float
    ) -> dict[str, Tensor]:
        """Return which classes are near the concepts that units detect."""
        labels = {row["label"] for row in concepts.values() if row["label"] and (row["iou"] or 0) >= threshold}
        return concept_classes(scene.questions["semantics"], scene, NEAR, labels) if labels else {}

    def _space(self, scene: Scene) -> ClassSpace | None:
        try:
            return class_space(scene.questions["semantics"], scene)
        except ValueError as error:  # predictions are traced to units all the same
            logger.warning("tracing: units get no meaning from classes: %s", error)
            return None

    def _meaning(self, scene: Scene, layers: str | tuple[str, ...], space: ClassSpace) -> SemanticsAnalysis:
        settings = scene.questions["semantics"]
        return SemanticsAnalysis(
            scene.attacks,
            classes=space,
            layers=layers,
            share=settings.share,
            reduce=settings.reduce,
            show=SHOWN,
            sample=1,  # whether units follow content is semantics' question
            seed=scene.seed,
        )

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the images with pages, and the units that made their predictions."""
        return {"tracing": errors_sheet(result, title)} if result.tables["tracing_pages"] else {}

    def pages(self, result: Result, title: str) -> dict[str, str]:
        """Return a page for every prediction that is shown."""
        return prediction_pages(result, title)

    def brief(self, result: Result, title: str) -> Table | None:
        """Return why the network errs, and how many pages there are; of files alone what they are read as."""
        rows = [row for row in result.tables["tracing_summary"] if row["n"]]
        columns: tuple[str, ...] = ("images", "group", "n", "support", "near", "named_flips", "control_flips")
        if not rows:
            rows, columns = result.tables["tracing_pages"], ("image", "images", "predicted_name", "confidence")
        pages = len({row["image"] for row in result.tables["tracing_pages"]})
        head = f"{title}: predictions traced to units ({pages} {'page' if pages == 1 else 'pages'} in tracing/)"
        return brief_table(rows, columns, head)
