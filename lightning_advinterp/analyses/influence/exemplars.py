"""The most influential training images of a few test images, before and after attacks, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_advinterp.core.result import Row
from lightning_advinterp.data.images import ImageSet


@dataclass
class Exemplars:
    """A test image and its most influential training images.

    Attributes:
        image: uint8 ``[H, W, 3]``.
        before: numbers of training images, the most influential first.
        chosen: number of the training image that an attack raises; None without such an attack.
        after: attack to the perturbed image and its most influential training images.
    """

    image: Tensor
    before: list[int]
    chosen: int | None = None
    after: dict[str, tuple[Tensor, list[int]]] = field(default_factory=dict)


def exemplar_rows(
    exemplars: Mapping[int, Exemplars], images: ImageSet, names: Sequence[str]
) -> tuple[list[Row], dict[str, NDArray[Any]]]:
    """Return the table ``influence_exemplars``, a row per test image, attack and training image, and its arrays.

    Args:
        exemplars: by number of the test image.
        images: all that were looked at.
        names: of the classes.

    Returns:
        Rows ``image, attack`` (``before`` without one), ``rank, training`` (number of the training image),
        ``training_name, stays`` (whether it was among them before) ``, raised`` (whether an attack was to raise it)
        ``, picture, training_picture``, keys of arrays.
    """
    places = {number: place for place, number in enumerate(images.indices)}
    rows: list[Row] = []
    arrays: dict[str, NDArray[Any]] = {}
    for number, exemplar in sorted(exemplars.items()):
        before = {"before": (exemplar.image, exemplar.before)}
        for attack, (image, strongest) in (before | exemplar.after).items():
            picture = f"influence-{number}-{attack}"
            arrays[picture] = image.numpy()
            for rank, training in enumerate(strongest):
                sample = images[places[training]]
                key, label = f"influence-training-{training}", int(sample.label)
                arrays[key] = np.asarray(sample.image.permute(1, 2, 0))
                row: Row = {"image": number, "attack": attack, "rank": rank, "training": training}
                row["training_name"] = names[label] if label < len(names) else f"class {label}"
                row["stays"] = attack != "before" and training in exemplar.before
                row["raised"] = training == exemplar.chosen
                rows.append(row | {"picture": picture, "training_picture": key})
    return rows, arrays
