"""What an analysis of concepts needs of a set, and how it opens one: a folder on disk, or the concept world."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, cast

from lightning_advinterp.data.broden.check import check_files
from lightning_advinterp.data.broden.dataset import BrodenDataset
from lightning_advinterp.data.broden.maps import Segmentation
from lightning_advinterp.data.broden.rendered import ConceptWorldConcepts
from lightning_advinterp.data.broden.vocabulary import Concept
from lightning_advinterp.data.images import ImageSet, missing_members

CONCEPT_WORLD = "concept_world"


class ConceptSet(ImageSet, Protocol):
    """Images with labels of concepts: :class:`BrodenDataset` or :class:`ConceptWorldConcepts`.

    ``dataset[item]`` counts positions; ``Batch.index``, :meth:`segmentation` and :meth:`path_of` go by the image's
    number, which it keeps in every choice of images.
    """

    categories: tuple[str, ...]
    concepts: dict[int, Concept]
    label_size: tuple[int, int]

    def segmentation(self, index: int) -> Segmentation:
        """Return the labels of an image by its number."""
        ...

    def only(self, places: Sequence[int], /) -> Self:
        """Return a data set of some of these images, by their positions here."""
        ...


def open_concepts(concepts: str | Path, size: int, *, n: int = 1000, seed: int = 0) -> ConceptSet:
    """Open a set for a network.

    Args:
        concepts: folder or tar file of a set in Broden's format, or ``concept_world``, which needs no download.
        size: side of the network's input in pixels.
        n: pictures of the concept world.
        seed: number of the concept world.

    Raises:
        FileNotFoundError: there is no such set; says how to get one.
        BrodenError: something is wrong with it.
    """
    if str(concepts) == CONCEPT_WORLD:
        return ConceptWorldConcepts(n, size=size, seed=seed)
    return BrodenDataset(concepts, size=size)


def as_concept_set(images: ImageSet) -> ConceptSet:
    """Return images that have labels of concepts.

    Raises:
        ValueError: if they have none.
    """
    if missing := missing_members(images, ConceptSet):
        raise ValueError(
            f"concepts: {type(images).__name__} has no labels of concepts (it lacks {', '.join(missing)}); take a set "
            f"in Broden's format or {CONCEPT_WORLD}, see open_concepts."
        )
    return cast(ConceptSet, images)


def check_concepts(concepts: ConceptSet, *, progress: bool = False) -> None:
    """Decode what is about to be looked at, before any work is done for it; a rendered world has no files.

    Args:
        concepts: the choice of images.
        progress: show a progress bar.

    Raises:
        BrodenError: something is wrong with its files; lists all findings with file, row and column.
    """
    if isinstance(concepts, BrodenDataset):
        check_files(concepts, progress=progress)
