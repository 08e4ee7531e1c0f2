"""The settings of panels."""

from dataclasses import dataclass, field

from lightning_advinterp.analyses.base.unit_pictures import HIGHLIGHTS, Highlight
from lightning_advinterp.core.settings import require_least


@dataclass(frozen=True)
class PanelsConfig:
    """Which units are shown, and how.

    Attributes:
        units: these units of every layer, one figure each and a contact sheet of all; empty: the contact sheet alone,
            of the layer's most and least consistent units.
        count: so many of each on a contact sheet.
        images: images per unit and kind.
        highlight: ``activation``: the unit's map enlarged to the image, above half of its maximum; ``discrepancy``: the
            discrepancy map of Zhou et al. 2015, above half of its maximum: 5,184 forward passes per image at 224 px;
            ``gradient``, ``gradcam``, ``lrp``: that explanation of the unit's largest activation in the image.
        layers: at most so many contact sheets, the last ones of the layers asked for.
    """

    units: list[int] = field(default_factory=list)
    count: int = 4
    images: int = 8
    highlight: Highlight = "activation"
    layers: int = 4

    def __post_init__(self) -> None:
        require_least(self, {"count": 1, "images": 1, "layers": 1})
        if self.highlight not in HIGHLIGHTS:
            raise ValueError(f"highlight must be one of {', '.join(HIGHLIGHTS)}, got {self.highlight!r}.")
