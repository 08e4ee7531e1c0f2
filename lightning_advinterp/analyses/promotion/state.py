"""What a promotion analysis keeps of every image: effects of cells, scores of maps, a few pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.metrics.promotion import CellScores, Effects, cell_effects, whole_effect

Entry = dict[str, Any]


def cell_entry(scores: CellScores, place: int, classes: tuple[int, int], size: Sequence[int]) -> Entry:
    """Return what is kept of one image's cells: scores from which all effects follow.

    Args:
        scores: of a batch.
        place: of the image in it.
        classes: target and true class.
        size: height and width of the image.
    """
    fields = {name: value[place].cpu().clone() for name, value in scores._asdict().items()}
    return fields | {"classes": list(classes), "size": list(size)}


@dataclass(frozen=True)
class KindCells:
    """The cells of all images of one attack that succeeded, in the order of their numbers.

    Attributes:
        numbers: of the images.
        effects: ``[N, 3, 3, m]`` each.
        whole_effects: of the perturbation as a whole, ``[N, 3]`` each.
        norms: ‖δ_i‖₂, ``[N, m]``.
        classes: target and true class of every image.
    """

    numbers: list[int]
    effects: Effects
    whole_effects: Effects
    norms: Tensor
    classes: list[list[int]]

    @property
    def active(self) -> Tensor:
        """Whether a cell is perturbed, bool ``[N, m]``."""
        return self.norms > 0


def kind_cells(entries: Mapping[int, Entry]) -> KindCells | None:
    """Return the entries of one attack as tensors; None where there are none."""
    if not entries:
        return None
    numbers = sorted(entries)
    fields = {name: torch.stack([entries[number][name] for number in numbers]) for name in CellScores._fields}
    scores = CellScores(**fields)
    classes = [entries[number]["classes"] for number in numbers]
    return KindCells(numbers, cell_effects(scores), whole_effect(scores), scores.norms, classes)


@dataclass(frozen=True)
class Measured:
    """What is kept of every image beside its cells, by attack and number.

    Attributes:
        scores: interpretability scores, ``[maps, 4, P, 3]``.
        correlations: over cells, ``[3, 3, 3, maps · 4, 2]``, of images on which the attack succeeds.
        screened: sensitivities by gradients, ``[3, m]``, of the same.
        failed: images on which the attack fails.
    """

    scores: Mapping[str, Mapping[int, Tensor]]
    correlations: Mapping[str, Mapping[int, Tensor]]
    screened: Mapping[str, Mapping[int, Tensor]]
    failed: Mapping[str, set[int]]


def lowest(entries: Mapping[int, Any], count: int) -> dict[int, Any]:
    """Return the entries of the lowest numbers."""
    return {number: entries[number] for number in sorted(entries)[:count]}
