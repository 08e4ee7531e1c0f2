"""Units whose meaning is near an image's true class or the class that an attack aims at, and how they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.analyses.sensitivity.interpretability import UnitConcept
from lightning_advinterp.metrics.moments import Moments

RELATIONS = ("target", "true", "both", "neither")
"""What a unit's meaning is near to: the target class, the true class, both, or neither."""
MEASURES = ("change_sd", "rising", "units")
"""Of an image's units of one relation and layer: mean change, share of those that rise, and how many there are."""


@dataclass(frozen=True)
class ClassMeanings:
    """Which meanings are near which classes.

    Attributes:
        names: of the network's outputs.
        near: bool ``[K, K]``, whether two classes are near each other.
        concepts: label of a concept to bool ``[K]``, the classes it is near to; without those that no one knows.
    """

    names: tuple[str, ...]
    near: Tensor
    concepts: Mapping[str, Tensor] = field(default_factory=dict)


def relation_codes(to_true: Tensor, to_target: Tensor) -> Tensor:
    """Return the place in :data:`RELATIONS` of every image and unit, int64 ``[B, U]``.

    Args:
        to_true: bool ``[B, U]``, whether the unit's meaning is near the image's true class.
        to_target: likewise of its target class.
    """
    codes = torch.where(to_true, RELATIONS.index("true"), RELATIONS.index("neither"))
    codes = torch.where(to_target, RELATIONS.index("target"), codes)
    return codes.masked_fill(to_true & to_target, RELATIONS.index("both"))


def image_means(change: Tensor, codes: Tensor, widths: Sequence[int]) -> Tensor:
    """Return every image's means over its units of one layer and relation.

    Args:
        change: ``[B, U]``, in standard deviations; NaN for a unit without any.
        codes: int64 ``[B, U]``; −1 for a unit without a meaning.
        widths: units of each layer.

    Returns:
        ``[B, measures · layers · relations]``, in the order of :data:`MEASURES`; NaN where an image has no such unit.
    """
    valid = ~change.isnan() & (codes >= 0)
    values = change.nan_to_num(0)
    measures: list[Tensor] = []
    start = 0
    for width in widths:
        part = slice(start, start + width)
        start += width
        for number in range(len(RELATIONS)):
            chosen = valid[:, part] & (codes[:, part] == number)
            count = chosen.sum(1)
            divisor = count.clamp(min=1)
            mean = (values[:, part] * chosen).sum(1) / divisor
            rising = ((values[:, part] > 0) & chosen).sum(1) / divisor
            absent = count == 0
            measures += [mean.masked_fill(absent, torch.nan), rising.masked_fill(absent, torch.nan), count.double()]
    columns = torch.stack(measures, dim=1).view(len(change), len(widths), len(RELATIONS), len(MEASURES))
    return columns.permute(0, 3, 1, 2).flatten(1)


class Relations:
    """Moments over images of how their units of one relation change, by kind of images and by meaning.

    Args:
        meanings: which meanings are near which classes.
        kinds: of images.

    Attributes:
        moments: kind to meaning, ``class`` or ``concept``, to moments of :func:`image_means`.
    """

    def __init__(self, meanings: ClassMeanings, kinds: Sequence[str]) -> None:
        self.meanings = meanings
        self.moments: dict[str, dict[str, Moments]] = {kind: {} for kind in kinds}
        self._concepts: tuple[Tensor, Tensor] | None = None

    @property
    def knows_concepts(self) -> bool:
        """Whether it has been told what units detect."""
        return self._concepts is not None

    def know_concepts(self, concepts: Sequence[UnitConcept | None]) -> None:
        """Learn what every unit detects."""
        table = torch.zeros(len(concepts), len(self.meanings.near), dtype=torch.bool)
        valid = torch.zeros(len(concepts), dtype=torch.bool)
        for number, concept in enumerate(concepts):
            near = self.meanings.concepts.get(concept.label or "") if concept and concept.detects else None
            if near is not None:
                table[number], valid[number] = near, True
        self._concepts = table, valid

    def update(
        self, kind: str, change: Tensor, classes: Tensor, true: Tensor, target: Tensor, widths: Sequence[int]
    ) -> None:
        """Take in one batch.

        Args:
            kind: of images.
            change: ``[B, U]``, in standard deviations; NaN for a unit without any.
            classes: int64 ``[B, U]``, the units' classes, from other images; −1 for none.
            true: int64 ``[B]``.
            target: int64 ``[B]``.
            widths: units of each layer.
        """
        near, place = self.meanings.near, classes.clamp(min=0)
        codes = relation_codes(near[place, true[:, None]], near[place, target[:, None]])
        self._note(kind, "class", image_means(change, codes.masked_fill(classes < 0, -1), widths))
        if self._concepts is not None and bool(self._concepts[1].any()):
            table, valid = self._concepts
            codes = relation_codes(table[:, true].T, table[:, target].T).masked_fill(~valid, -1)
            self._note(kind, "concept", image_means(change, codes, widths))

    def _note(self, kind: str, meaning: str, values: Tensor) -> None:
        self.moments[kind].setdefault(meaning, Moments(values.shape[1])).update(values)

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        for kind, meanings in state.items():
            for meaning, moments in meanings.items():
                self.moments[kind].setdefault(meaning, Moments(len(moments["count"]))).merge(moments)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments as tensors."""
        return {
            kind: {meaning: moments.state_dict() for meaning, moments in meanings.items()}
            for kind, meanings in self.moments.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the moments."""
        self.moments = {kind: {} for kind in self.moments}
        self.merge(state)
