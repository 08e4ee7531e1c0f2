"""The question of dissection: which concepts units detect, and whether they keep them under attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from matplotlib.figure import Figure

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Data, Question, Scene
from lightning_advinterp.analyses.base.unit_images import UnitImages
from lightning_advinterp.analyses.base.unit_pictures import UnitPictures, UnitRequest, pictures_of
from lightning_advinterp.analyses.dissection.analysis import DissectionAnalysis
from lightning_advinterp.analyses.dissection.columns import DISSECTION
from lightning_advinterp.analyses.dissection.config import DissectionConfig
from lightning_advinterp.analyses.dissection.figures import best_units, category_bars, depth_profile, detector_panel
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.data.broden import as_concept_set

IMAGES = 8
"""So many images are shown of each detector."""
_SHOWN = ("layer", "label", "category", "iou", "eps")


@dataclass(frozen=True)
class Dissection(DissectionConfig, Question):
    """Which concepts units detect, on real and on attacked images.

    Attributes:
        units: so many of the best detectors are shown, a concept each.
    """

    units: int = 8

    name: ClassVar[str] = "dissection"
    data: ClassVar[Data] = "concepts"
    uses: ClassVar[frozenset[str]] = frozenset({"concepts", "layers"})
    main_figure: ClassVar[str] = "categories"
    tables = DISSECTION

    def build(self, scene: Scene) -> list[Analysis]:
        """Return the dissection, what ranks the images of its units, and what keeps the best units' pictures."""
        config = replace(self, seed=scene.seed, layers=scene.layers_or(self.layers))
        ranking = UnitImages(scene.attacks, config.layers, IMAGES, name="dissection_top")
        kinds = (REAL, *scene.attacks)

        most = self.units * IMAGES * len(kinds)
        choose = partial(best_requests, count=self.units)
        pictures = UnitPictures("dissection_pictures", config.layers, kinds, choose, most=most)
        return [DissectionAnalysis(as_concept_set(scene.images), scene.attacks, config), ranking, pictures]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw the bars of Table 1, the course over depth where there is one, and the best detectors' images."""
        summary = result.tables["dissection_summary"]
        figures = {"dissection": category_bars(summary, title)}
        if len({row["layer"] for row in summary}) > 1:
            figures["dissection_depth"] = depth_profile(summary, title)
        if result.tables["dissection_pictures"]:
            figures["dissection_units"] = detector_panel(pictures_of(result, "dissection_pictures"), title)
        return figures

    def scalars(self, result: Result) -> dict[str, float]:
        """Return ratios, unique detectors and retention; the first attack's retention has the plain names."""
        kinds = dict.fromkeys(row["images"] for row in result.tables["dissection_summary"])
        first = next((kind for kind in kinds if kind != REAL), "")
        return {
            f"dissection/{key.removeprefix(f'{first}/') if '/retention' in key else key}": value
            for key, value in result.scalars.items()
        }


def best_requests(results: Mapping[str, Result], count: int) -> list[UnitRequest]:
    """Return the units with the highest IoU, with the images that they answer most to, of every kind."""
    rows, top = results["dissection"].tables["dissection"], results["dissection_top"].arrays
    units = {(row["layer"], row["unit"]): place for place, row in enumerate(_of_kind(rows, REAL))}
    requests = []
    for best in best_units(rows, count):
        for row in rows:
            if (row["layer"], row["unit"]) == (best["layer"], best["unit"]):
                images = top[f"dissection_top-{row['images']}"][units[row["layer"], row["unit"]]]
                numbers = tuple(int(image) for image in images if image >= 0)
                shown = {key: row[key] for key in _SHOWN if key in row}
                requests.append(UnitRequest(row["tap"], row["unit"], row["images"], numbers, row["threshold"], shown))
    return requests


def _of_kind(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["images"] == kind]
