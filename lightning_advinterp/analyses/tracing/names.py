"""What classes and units are called, and which units' meanings are near a class."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from lightning_advinterp.analyses.panels.units import near_concept
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.semantics import ClassSpace


@dataclass(frozen=True)
class Names:
    """Names of classes and units.

    Attributes:
        classes: for people, one for each output; empty where they are unknown.
        space: the classes over which meanings are taken; None where they have no meaning.
        concepts: layer and unit to ``label``, ``category`` and ``iou`` of a dissection.
        concept_classes: label of a concept to bool ``[K]``, the classes it is near to; without those that no one knows.
        iou: from which IoU a unit detects its concept.
        eps: of every attack.
        files: what the files that the user named are called.
    """

    classes: tuple[str, ...] = ()
    space: ClassSpace | None = None
    concepts: Mapping[tuple[str, int], Row] = field(default_factory=dict)
    concept_classes: Mapping[str, Tensor] = field(default_factory=dict)
    iou: float = 0.0
    eps: Mapping[str, float | None] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def of(self, number: int | None) -> str | None:
        """Return what an output is called; None where there is no such class."""
        if number is None or number < 0:
            return None
        return self.classes[number] if number < len(self.classes) else f"class {number}"

    def near(self, unit: Row, number: int) -> bool:
        """Whether a unit's modal class, or the concept that it detects, is near a class.

        A modal class is at most two WordNet edges from it: the rule of panels. A concept is so near, or above it.

        Args:
            unit: with ``mode_index``, and ``label`` and ``iou`` of a dissection.
            number: the class.
        """
        if self.space is not None and near_concept(self.space, unit["mode_index"], (number,))[0]:
            return True
        classes = self.concept_classes.get(unit["label"] or "") if (unit["iou"] or 0) >= self.iou else None
        return classes is not None and number < len(classes) and bool(classes[number])

    def concept(self, layer: str, unit: int) -> Row:
        """Return what a dissection says of a unit; missing where it says nothing."""
        return dict(self.concepts.get((layer, unit), {"label": None, "category": None, "iou": None}))
