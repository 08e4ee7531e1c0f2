"""Units whose meaning is near an image's true class or the class that an attack aims at, and how they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

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
    known = ~change.isnan() & (codes >= 0)
    values = change.nan_to_num(0)
    found: list[Tensor] = []
    start = 0
    for width in widths:
        part = slice(start, start + width)
        start += width
        for number in range(len(RELATIONS)):
            chosen = known[:, part] & (codes[:, part] == number)
            count = chosen.sum(1)
            some = count.clamp(min=1)
            mean = (values[:, part] * chosen).sum(1) / some
            rising = ((values[:, part] > 0) & chosen).sum(1) / some
            absent = count == 0
            found += [mean.masked_fill(absent, torch.nan), rising.masked_fill(absent, torch.nan), count.double()]
    columns = torch.stack(found, dim=1).view(len(change), len(widths), len(RELATIONS), len(MEASURES))
    return columns.permute(0, 3, 1, 2).flatten(1)
