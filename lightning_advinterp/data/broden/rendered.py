"""The concept world with its labels, as a set for dissection: rendered on the fly, or written in Broden's format."""

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from rich.progress import track

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.broden.maps import Segmentation
from lightning_advinterp.data.broden.vocabulary import Concept
from lightning_advinterp.data.broden.writer import BrodenWriter, Label
from lightning_advinterp.data.concept_world.dataset import ConceptWorld, Split
from lightning_advinterp.data.concept_world.rendering import RENDER_VERSION, Rendering, render
from lightning_advinterp.data.concept_world.vocabulary import CATEGORIES, CONCEPTS
from lightning_advinterp.data.images import ImageSetDefaults
from lightning_advinterp.data.scan import UNLABELLED


class ConceptWorldConcepts(ImageSetDefaults):
    """Pictures of the concept world with labels in all six categories, exact per pixel.

    The same interface as :class:`~lightning_advinterp.data.broden.dataset.BrodenDataset`, without a download or a
    disk. Pictures are kept once rendered (3 · size² bytes each); labels are rendered when asked for, some 3 ms each at
    64 px and 8 ms at 224 px. :func:`write_concept_world` puts all of it on disk, where that is too slow.

    Args:
        n: number of pictures.
        size: width and height of the pictures in pixels.
        label_size: width and height of the maps, which divides ``size``; None: the same. A smaller map has the label at
            the centre of each of its cells.
        seed: number of the world.
        split: of the concept world; classifiers are trained on ``train`` and validated on ``val``.

    Attributes:
        categories: names; a category number is a place in this list.
        concepts: by label number.
        label_size: height and width of all maps.
        indices: for each position the number of its picture.
    """

    def __init__(
        self, n: int = 1000, *, size: int = 64, label_size: int | None = None, seed: int = 0, split: Split = "test"
    ) -> None:
        self.world = ConceptWorld(split, n, size=size, seed=seed)
        maps = size if label_size is None else label_size
        if maps < 1 or size % maps:
            raise ValueError(f"label_size must divide size={size}, got {label_size}")
        self.label_size: tuple[int, int] = (maps, maps)
        self.categories: tuple[str, ...] = CATEGORIES
        self.concepts: dict[int, Concept] = {
            number: Concept(number, name, CATEGORIES.index(category)) for number, name, category in CONCEPTS
        }
        self.indices: list[int] = list(range(n))
        self.labels, self.classes, self.class_names = None, list[str](), list[str]()

    def only(self, items: Sequence[int]) -> Self:
        """Return a data set of some of these pictures, by their positions here; they keep their numbers."""
        part = copy.copy(self)
        part.indices = [self.indices[item] for item in items]
        return part

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> Batch:
        """Return one sample: uint8 ``[3, size, size]``, label −1, the picture's number."""
        sample = self.world[self.indices[item]]
        return sample._replace(label=torch.tensor(UNLABELLED))

    def rendering(self, index: int) -> Rendering:
        """Return a picture with all its labels at full size, by its number (``Batch.index``)."""
        return render(self.world.offset + index, seed=self.world.seed, size=self.world.size)

    def segmentation(self, index: int) -> Segmentation:
        """Return the labels of a picture by its number (``Batch.index``), at ``label_size``."""
        return self.labels_of(self.rendering(index))

    def labels_of(self, rendering: Rendering) -> Segmentation:
        """Return the labels of a rendered picture at ``label_size``; layers without any label are left out."""
        step = self.world.size // self.label_size[0]
        maps = {}
        for name, layers in rendering.layers.items():
            small = [layer[step // 2 :: step, step // 2 :: step] for layer in layers]
            if labelled := [layer for layer in small if layer.any()]:
                maps[CATEGORIES.index(name)] = np.stack(labelled).astype(np.int32)
        return Segmentation(maps, {CATEGORIES.index("scene"): (rendering.scene,)})

    def path_of(self, index: int) -> str:
        """Return what a picture is called, by its number (``Batch.index``)."""
        return f"{self.world.split}/{index:06d}.png"

    @property
    def fingerprint(self) -> str:
        """Short hash of the settings, of the renderer's version and of which pictures are used."""
        world = self.world
        text = f"concept world {RENDER_VERSION} {world.split} {world.n} {world.size} {self.label_size} {world.seed}"
        if len(self.indices) < world.n:
            text += f" {self.indices}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_concept_world(parent: str | Path, data: ConceptWorldConcepts, *, progress: bool = False) -> Path:
    """Write the pictures of a data set in Broden's format, once: a folder that is there is used as it is.

    Args:
        parent: where the folder ``concept_world_<fingerprint>`` goes.
        data: the pictures.
        progress: show a progress bar.

    Returns:
        The folder, for :class:`~lightning_advinterp.data.broden.dataset.BrodenDataset`.
    """
    root = Path(parent) / f"concept_world_{data.fingerprint}"
    if root.exists():
        return root
    labels = [Label(number, name, (category,)) for number, name, category in CONCEPTS]
    try:
        with BrodenWriter(root, CATEGORIES, labels, data.label_size) as writer:
            for index in track(data.indices, "writing the concept world", disable=not progress, transient=True):
                rendering = data.rendering(index)
                maps, whole = data.labels_of(rendering)
                writer.add(
                    data.path_of(index),
                    rendering.image,
                    {CATEGORIES[k]: numbers for k, numbers in maps.items()},
                    {CATEGORIES[k]: numbers for k, numbers in whole.items()},
                    split="val",
                )
    except OSError:
        if not (root / "index.csv").exists():  # else another process has written the same set in the meantime
            raise
    return root
