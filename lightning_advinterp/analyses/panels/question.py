"""The question of panels: the images that drive units most, real and adversarial (Dong et al. 2022, Fig. 2, 4-9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.base.unit_pictures import UnitPictures, UnitRequest, pictures_of
from lightning_advinterp.analyses.panels.columns import PANELS
from lightning_advinterp.analyses.panels.config import PanelsConfig
from lightning_advinterp.analyses.panels.figures import meaning_panel
from lightning_advinterp.analyses.panels.patches import PatchesAnalysis
from lightning_advinterp.analyses.panels.units import check_units, chosen_units, near_concept
from lightning_advinterp.analyses.semantics.question import class_space
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.units.spaces import UnitSpace, unit_space

_SHOWN = (
    *("layer", "eps", "lc", "cs1", "cs2", "mode_class", "mode_index", "dead", "signed"),
    *("floor", "chance_lc", "chance_cs1", "chance_cs2", "images_per_class", "kept", "readable"),
)
"""What a panel says of a unit."""


@dataclass(frozen=True)
class Panels(PanelsConfig, Question):
    """The images that drive units most, side by side.

    Attributes:
        patches: also paste units' top patches into other images, see the settings ``patches``.
    """

    patches: bool = True

    name: ClassVar[str] = "panels"
    uses: ClassVar[frozenset[str]] = frozenset({"layers"})
    companions: ClassVar[tuple[str, ...]] = ("semantics", "patches")
    chooses_targets_among_images: ClassVar[bool] = True
    tables = PANELS

    def build(self, scene: Scene) -> list[Analysis]:
        """Return units' meanings, unless these are asked for anyway, top patches, and what keeps units' pictures."""
        semantics = scene.questions["semantics"]
        layers = scene.layers_or(semantics.layers)
        check_units(scene.network, layers, self)
        built = [] if "semantics" in scene.together else semantics.build(scene)
        if self.patches:
            layers_of_patches = scene.layers_or("last")
            built += [PatchesAnalysis(scene.images, layers_of_patches, scene.questions["patches"], scene.seed)]
        return [*built, self.pictures(scene, layers)]

    def pictures(self, scene: Scene, layers: str | tuple[str, ...]) -> UnitPictures:
        """Return what keeps the pictures of the units that are shown."""
        shown = unit_space(scene.network, layers).layers[-self.layers :]
        kinds = (REAL, *scene.attacks)
        names, space = scene.class_names, class_space(scene.questions["semantics"], scene)
        units = len(self.units) or 2 * self.count
        return UnitPictures(
            "panels",
            UnitSpace(shown),
            kinds,
            lambda results: self.requests(results["semantics"]),
            most=len(shown) * units * self.images * len(kinds),
            highlight=self.highlight,
            seed=scene.seed,
            describe=lambda row, predicted: _describe(row, predicted, names, space),
        )

    def requests(self, semantics: Result) -> list[UnitRequest]:
        """Return the units that are shown, with the images that drive them."""
        rows = semantics.tables["semantics"]
        units = chosen_units(rows, self)
        requests = []
        places: dict[str, int] = {}
        by_unit: dict[tuple[str, int], dict[str, tuple[int, Row]]] = {}
        for row in rows:
            place = places.setdefault(row["images"], 0)
            places[row["images"]] += 1
            by_unit.setdefault((row["layer"], row["unit"]), {})[row["images"]] = place, row
        for layer, numbers in units.items():
            for number in numbers:
                for kind, (place, row) in by_unit[layer, number].items():
                    driving = semantics.arrays[f"semantics_top-{kind}"][place][: self.images]
                    images = tuple(int(image) for image in driving if image >= 0)
                    shown = {key: row[key] for key in _SHOWN if key in row}
                    requests.append(UnitRequest(row["tap"], number, kind, images, row=shown))
        return requests

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw a contact sheet per layer, and a figure per unit that was asked for."""
        units = pictures_of(result, "panels")
        figures = {}
        for layer in dict.fromkeys(unit.row["layer"] for unit in units):
            shown = [unit for unit in units if unit.row["layer"] == layer]
            which = f"units {', '.join(map(str, self.units))}" if self.units else "most and least consistent units"
            figures[f"panels_{layer}"] = meaning_panel(shown, f"{title}, {layer}: {which}")
            for number in self.units:
                pictures = [unit for unit in shown if unit.row["unit"] == number]
                figures[f"panels_{layer}_{number}"] = meaning_panel(pictures, f"{title}, {layer}, unit {number}")
        return figures


def _describe(row: Row, predicted: int, names: Sequence[str], space: ClassSpace) -> Row:
    """Return what a picture was taken for, and whether that is the unit's concept; real images have no such mark."""
    name = names[predicted] if predicted < len(names) else str(predicted)
    near = None if row["images"] == REAL else near_concept(space, row["mode_index"], (predicted,))[0]
    return {"predicted_name": name, "near_concept": near}
