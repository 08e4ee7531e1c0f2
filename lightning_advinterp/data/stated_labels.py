"""From the labels that a set states, numbers or names, to classes and positions among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_advinterp.data.listing import shorten
from lightning_advinterp.data.scan import UNLABELLED

StatedLabel = int | str | None
"""A class's number, from 0; its name; or nothing. A negative number is nothing too."""

MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class StatedClasses:
    """The classes of a set that numbers or names them.

    Attributes:
        names: for each position the class's name, or its number as text where numbers are all there is.
        numbered: whether positions are the numbers that the set states; else the names are in sorted order.
    """

    names: list[str]
    numbered: bool

    @classmethod
    def of(cls, labels: Mapping[str, Sequence[StatedLabel]], names: Sequence[str] | None = None) -> "StatedClasses":
        """Return the classes of all splits together: a split that lacks images of a class has its number all the same.

        Args:
            labels: for each split its labels.
            names: for each number the class's name, where the set says it.

        Raises:
            ValueError: if numbers and names are mixed, or a number is out of range.
        """
        if names is not None:
            return cls(list(names), numbered=True)
        texts: set[str] = set()
        highest = -1
        for values in labels.values():
            texts.update(value for value in values if isinstance(value, str))
            highest = max(highest, max((value for value in values if isinstance(value, int)), default=-1))
        if texts and highest >= 0:
            raise ValueError(
                f"labels must all be numbers of classes or all be names, got {highest} and {shorten(sorted(texts))}"
            )
        if highest >= MOST_CLASSES:
            raise ValueError(f"labels must be numbers of classes below {MOST_CLASSES:,}, counted from 0, got {highest}")
        if texts:
            return cls(sorted(texts), numbered=False)
        return cls([str(number) for number in range(highest + 1)], numbered=True)

    def positions(self, labels: Sequence[StatedLabel], where: str) -> list[int]:
        """Return each image's position among the classes; all are −1 where none has a label.

        Args:
            labels: of one split.
            where: the split, for messages.

        Raises:
            ValueError: if some images have a label and some have none, or a label is none of the classes.
        """
        places = {name: position for position, name in enumerate(self.names)}
        positions = np.full(len(labels), UNLABELLED, np.int64)
        for item, label in enumerate(labels):
            if isinstance(label, str):
                positions[item] = places.get(label, len(places))
            elif label is not None and label >= 0:
                positions[item] = label
        outside = np.flatnonzero(positions >= len(self.names))
        if len(outside):
            wrong = [str(labels[item]) for item in outside[:5].tolist()]
            raise ValueError(f"{where}: labels {shorten(wrong)} are none of the {len(self.names)} classes")
        missing = np.flatnonzero(positions == UNLABELLED)
        if 0 < len(missing) < len(labels):
            raise ValueError(
                f"{where}: {len(missing):,} of {len(labels):,} images have no label (the first is number "
                f"{missing[0]}); leave them out, or label them"
            )
        return list(positions.tolist())
