"""What dissection says of units, and which images lie in two sets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.data.broden.dataset import BrodenDataset
from lightning_advinterp.data.broden.rendered import ConceptWorldConcepts
from lightning_advinterp.data.concept_world.dataset import ConceptWorld
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.images import Choice, ImageSet


@dataclass(frozen=True)
class UnitConcept:
    """What dissection says of a unit on real images.

    Attributes:
        iou: its overlap with the concept that it detects best.
        label: that concept; None where nothing overlaps.
        category: the concept's.
        detects: whether the overlap makes it a detector.
    """

    iou: float
    label: str | None
    category: str | None
    detects: bool


def unit_concepts(rows: Iterable[Row], threshold: float) -> dict[tuple[str, int], UnitConcept]:
    """Return what the table ``dissection`` says of every unit, by layer and number.

    Args:
        rows: the table.
        threshold: IoU from which a unit is a detector.
    """
    return {
        (row["layer"], row["unit"]): UnitConcept(
            row["iou"], row["label"], row["category"], row["label"] is not None and row["iou"] >= threshold
        )
        for row in rows
        if row["images"] == REAL
    }


def shared_images(images: ImageSet, concepts: ImageSet) -> dict[int, int]:
    """Return the images that lie in both sets: numbers in the first to numbers in the second.

    Files are the same where their resolved paths are; pictures of the concept world where their numbers are. Copies
    of a file are not recognised.

    Args:
        images: the images that are attacked.
        concepts: those with labels of concepts.
    """
    image_numbers, concept_numbers = _identities(images), _identities(concepts)
    return {
        number: concept_numbers[identity] for identity, number in image_numbers.items() if identity in concept_numbers
    }


def _identities(images: ImageSet) -> Mapping[Any, int]:
    """Return every image's number by what tells it from others; nothing where that is unknown."""
    if isinstance(images, Choice):
        identities = _identities(images.whole)
        chosen = set(images.indices)
        return {identity: number for identity, number in identities.items() if number in chosen}
    if isinstance(images, ConceptWorld):
        return {(images.split, images.seed, number): number for number in range(images.n)}
    if isinstance(images, ConceptWorldConcepts):
        return {(images.world.split, images.world.seed, number): number for number in images.indices}
    if isinstance(images, ImageFolderDataset):
        numbers = zip(images.paths, images.indices, strict=True)
        return {(images.root / path).resolve(): number for path, number in numbers}
    if isinstance(images, BrodenDataset):
        return {Path(images.file(images.path_of(number))).resolve(): number for number in images.indices}
    return {}
