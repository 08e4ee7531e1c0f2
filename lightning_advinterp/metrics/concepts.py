"""From overlaps to statements: which concept a unit detects, how many units detect what, and what an attack leaves."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

DETECTOR_IOU = 0.04
"""The official codes' threshold. Dong et al. 2022 print 0.4, above which released dissections have no unit at all."""

Convention = Literal["best", "every"]
Kept = Literal["concept", "category", "other", "lost"]
KEPT: tuple[Kept, ...] = get_args(Kept)


class UnitConcepts(NamedTuple):
    """The best label of every unit in each category.

    Attributes:
        label: int64 ``[U, C]``, label numbers; 0 where nothing overlaps.
        iou: float64 ``[U, C]``.
    """

    label: NDArray[np.int64]
    iou: NDArray[np.float64]

    @property
    def category(self) -> NDArray[np.int64]:
        """int64 ``[U]``, the category of the best label over all; the first of equal ones."""
        first: NDArray[np.int64] = self.iou.argmax(axis=1)
        return first

    @property
    def best_label(self) -> NDArray[np.int64]:
        """int64 ``[U]``, the best label over all."""
        best: NDArray[np.int64] = self.label[np.arange(len(self.label)), self.category]
        return best

    @property
    def best_iou(self) -> NDArray[np.float64]:
        """float64 ``[U]``, its overlap: the unit's score."""
        best: NDArray[np.float64] = self.iou.max(axis=1)
        return best


def best_concepts(
    iou: NDArray[np.float64], numbers: NDArray[np.int64], category: NDArray[np.int64], categories: int
) -> UnitConcepts:
    """Find every unit's best label of each category; of equal ones, that of the lowest number.

    Args:
        iou: ``[U, L]``.
        numbers: int64 ``[L]``, the label numbers of the columns, rising.
        category: int64 ``[L]``, the category in which each is scored.
        categories: how many there are.
    """
    units = np.arange(len(iou))
    label = np.zeros((len(iou), categories), dtype=np.int64)
    best = np.zeros((len(iou), categories))
    for number in range(categories):
        columns = np.flatnonzero(category == number)
        if len(columns):
            best_columns = iou[:, columns].argmax(axis=1)
            best[:, number] = iou[units, columns[best_columns]]
            label[:, number] = np.where(best[:, number] > 0, numbers[columns[best_columns]], 0)
    return UnitConcepts(label, best)


class Detectors(NamedTuple):
    """How many units detect concepts of each category.

    Attributes:
        units: int64 ``[C]``.
        unique: int64 ``[C]``, different labels among them.
        any: units that detect anything.
    """

    units: NDArray[np.int64]
    unique: NDArray[np.int64]
    any: int


def count_detectors(
    concepts: UnitConcepts, threshold: float = DETECTOR_IOU, convention: Convention = "best"
) -> Detectors:
    """Count detectors by one of the two official conventions, which give very different numbers.

    Args:
        concepts: of U units.
        threshold: τ.
        convention: ``best`` (NetDissect's and NetDissect-Lite's reports): a unit counts in the category of its best
            label alone, if IoU ≥ τ. ``every`` (the paper's figures, ``extract_csv.m``): in each category where
            IoU > τ.
    """
    if convention == "best":
        of_category = np.eye(concepts.iou.shape[1], dtype=bool)[concepts.category]
        hit = of_category & (concepts.iou >= threshold)
    elif convention == "every":
        hit = concepts.iou > threshold
    else:
        raise ValueError(f"convention must be best or every, got {convention!r}.")
    unique = [len(np.unique(labels[hits])) for labels, hits in zip(concepts.label.T, hit.T, strict=True)]
    return Detectors(hit.sum(axis=0), np.array(unique), int(hit.any(axis=1).sum()))


def retained(before: UnitConcepts, after: UnitConcepts, threshold: float = DETECTOR_IOU) -> list[Kept | None]:
    """Say what is left of every unit's concept.

    Returns:
        Per unit ``concept`` (still a detector of the same label), ``category`` (of another label of the same
        category), ``other`` (of something else), ``lost`` (no longer a detector), or None where there was none.
    """
    pairs: list[Kept | None] = []
    for unit, score in enumerate(before.best_iou):
        if score < threshold:
            pairs.append(None)
        elif after.best_iou[unit] < threshold:
            pairs.append("lost")
        elif after.category[unit] != before.category[unit]:
            pairs.append("other")
        else:
            pairs.append("concept" if after.best_label[unit] == before.best_label[unit] else "category")
    return pairs
