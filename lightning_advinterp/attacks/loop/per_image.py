"""What an attack knows of single images: their own targets."""

from collections.abc import Mapping
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from lightning_advinterp.data.target_list import TargetList
from lightning_advinterp.networks.network import Network


class PerImage:
    """The part of an attack that depends on which images it is made on; most attacks do not.

    Attributes:
        name: what tables call the attack.
        target_list: which class each image is attacked towards, whatever the rules say.
    """

    name: str
    target_list: TargetList | None = None
    _by_number: Mapping[int, int] | None = None
    _index: Tensor | None = None

    def for_images(self, images: Any, data: str = "data") -> Self:
        """Return this attack for the images of a data set: itself, unless it depends on which images they are.

        Args:
            images: the data set, before any work.
            data: ``data``, or ``concepts`` for images with labels of concepts.

        Raises:
            ValueError, FileNotFoundError: if it has nothing for them; saying what.
        """
        if self.target_list is None:
            return self
        bound = copy(self)
        bound._by_number = self.target_list.of(images)
        return bound

    def on(self, index: Tensor) -> Self:
        """Return this attack for a batch of images by their numbers, int64 ``[B]``: itself, unless it needs these."""
        if self.target_list is None:
            return self
        shown = copy(self)
        shown._index = index
        return shown

    def places(self, images: Any, data: str = "data") -> list[int] | None:
        """Return the places of a data set's images that it is for, where others are to be left out; None: all."""
        return None

    def made_for(self, network: Network) -> dict[str, Any]:
        """Return for which network its images are made, when ``network`` is the one that is shown them.

        ``made_for`` is ``this network``, ``another network``, ``ensemble`` or ``unknown``; further entries say which.
        """
        return {"made_for": "this network"}

    def towards(self, targets: TargetList) -> Self:
        """Return this attack, moving every image towards its target in a list."""
        aimed = copy(self)
        aimed.target_list = targets
        return aimed

    def listed(self, index: Tensor | None) -> Tensor | None:
        """Return the listed targets of images by their numbers, int64 ``[B]`` both; None where no list says them.

        Raises:
            ValueError: if it is not known which images are attacked.
        """
        if self.target_list is None:
            return None
        if self._by_number is None or index is None:
            raise ValueError(
                f"target_file: {self.name} must know which images it attacks, "
                "attack.for_images(dataset).on(batch.index)(network, x, y); no training can use it."
            )
        targets = [self._by_number[number] for number in index.tolist()]
        return torch.tensor(targets, device=index.device)
