"""Adversarial images of a set that this project wrote, by the number of the image that each was made of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.files import stamp_of
from lightning_advinterp.data.adversarial_parts import AdversarialRow
from lightning_advinterp.data.adversarial_set import AdversarialSet
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.stored_images import Aim, StoredImages, as_pixels, name_of, other_size

_COMPARED = 64
"""So many images, evenly chosen, are held against their sources before any work; the others when they are shown."""


class SetImages(StoredImages):
    """The images of a set that this project wrote.

    Args:
        folder: of the set.
        rank: which of several adversarial images of a source, 1 the first; None: there is one of each.

    Raises:
        FileNotFoundError, DamagedFileError: as :class:`~lightning_advinterp.data.adversarial_set.AdversarialSet`.
        ValueError: if there are several images of a source and none is chosen, or not as many.
    """

    def __init__(self, folder: Path, rank: int | None = None) -> None:
        super().__init__(folder)
        self.set = AdversarialSet(folder)
        places: dict[int, list[int]] = {}
        for place, row in enumerate(self.set.rows):
            places.setdefault(row.source, []).append(place)
        most = max(map(len, places.values()), default=1)
        if rank is None and most > 1:
            raise ValueError(
                f"{folder} holds {most} adversarial images of one image, one for each target; choose by target_rank: "
                f"1 (the least likely class) to {most}."
            )
        if rank is not None and not 1 <= rank <= most:
            raise ValueError(f"target_rank must be 1 to {most} for the set {folder}, got {rank}.")
        chosen = 0 if rank is None else rank - 1
        self._places = {source: positions[chosen] for source, positions in places.items() if len(positions) > chosen}

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the set says of itself."""
        return self.set.manifest

    @property
    def targeted(self) -> bool:
        """Whether the set's attack aimed at classes.

        A row tells by its success, which is ``predicted == target`` towards a target and the opposite away from a
        label; rows whose target is the true class do not, since such an image is not attacked.
        """
        agreements = [row.success == (row.predicted == row.target) for row in self.set.rows if row.target != row.label]
        return any(agreements)

    def holds(self, number: int) -> bool:
        """Whether there is an adversarial image of a source."""
        return number in self._places

    def row(self, number: int) -> AdversarialRow:
        """Return what is recorded of the image of a source."""
        return self.set.rows[self._places[number]]

    def read(self, number: int) -> Tensor:
        """Return an image as it was kept."""
        return self.set[self._places[number]].image

    def aim(self, numbers: Sequence[int]) -> Aim:
        """Return the classes that are recorded."""
        return Aim(torch.tensor([self.row(number).target for number in numbers]), self.targeted)

    def check(self, images: ImageSet) -> None:
        """Hold files against their checksums, and shape, labels and some images against the data set's."""
        damaged = self.set.verify()
        if damaged:
            raise ValueError(f"{self.folder}: {', '.join(damaged)} is not what was written; make the set anew.")
        numbers = images.indices
        for number, label in zip(numbers, images.labels or [], strict=False):  # no labels: none to compare
            if -1 not in (label, self.row(number).label) and self.row(number).label != label:
                raise ValueError(
                    f"{self.folder} is a set of other images: {name_of(images, number)!r} has the label {label}, and "
                    f"{self.row(number).label} in the set; give the data that it was made of."
                )
        shape, expected = tuple(self.manifest["shape"]), tuple(images[0].image.shape)
        if shape != expected:
            raise ValueError(other_size(str(self.folder), shape, expected))
        for place in range(0, len(images), max(1, len(images) // _COMPARED)):
            try:
                source = as_pixels(images[place].image)[None]
                self.compare([numbers[place]], as_pixels(self.read(numbers[place]))[None], source)
            except RunStoppedError as error:
                raise ValueError(str(error)) from None

    def compare(self, numbers: Sequence[int], stored: Tensor, source: Tensor) -> None:
        """Hold the distance of every image to its source against the recorded one.

        The distance is of the kept image, so that it is the recorded one but for rounding. The tolerance, a tenth of a
        grey level and 2 %, is for decoders that differ; another image is many times as far away.
        """
        measured = (stored - source).flatten(1).double().norm(dim=1).tolist()
        slack = 0.1 / 255 * source[0].numel() ** 0.5
        for number, l2 in zip(numbers, measured, strict=True):
            recorded = self.row(number).l2
            if abs(l2 - recorded) > slack + 0.02 * recorded:
                raise RunStoppedError(
                    f"{self.folder} is a set of other images, or of images prepared otherwise: image {number} is "
                    f"{l2:.4g} (L2) from its adversarial image, {recorded:.4g} is recorded; give the data, --crop and "
                    "--resize that it was made with"
                )

    @property
    def stamp(self) -> str:
        """Short hash of the manifest and of when the parts were last changed."""
        return stamp_of(sorted(path for path in self.folder.glob("*") if path.suffix in (".json", ".zip")))
