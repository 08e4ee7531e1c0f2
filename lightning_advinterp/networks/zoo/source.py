"""An architecture of RobustBench's model zoo, as a source of networks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.networks.request import Request, Source
from lightning_advinterp.networks.zoo.robustbench import ARCHITECTURES, Entry


class ZooSource:
    """A network of the zoo, with the normalisation that the zoo's code gives it.

    Args:
        name: ``robustbench:NAME``.
        entry: what that is.
        library: torchvision's or timm's source of the same architecture, where it is theirs.
    """

    def __init__(self, name: str, entry: Entry, library: Source | None = None) -> None:
        self.name, self._entry, self._library = name, entry, library
        self.options: Mapping[str, Any] = {}

    def recipe(self, weights: str | None) -> Recipe:
        """See :class:`~lightning_advinterp.networks.request.Source`."""
        if weights is not None:
            raise ValueError(
                f"weights must be the zoo's file for {self.name}, got {weights!r}; RobustBench's load_model "
                "downloads it."
            )
        usual = Recipe(input_size=32, resize=32) if self._library is None else self._library.recipe(None)
        return replace(usual, mean=self._entry.mean, std=self._entry.std)

    def build(self, request: Request) -> nn.Module:
        """See :class:`~lightning_advinterp.networks.request.Source`."""
        classes = self._entry.num_classes if request.num_classes is None else request.num_classes
        if self._library is not None:
            return self._library.build(replace(request, num_classes=classes))
        if request.options:
            raise ValueError(f"{self.name} takes no further options, got {sorted(request.options)}.")
        return ARCHITECTURES[self._entry.architecture](num_classes=classes, **self._entry.options)

    def download(self, weights: str) -> None:
        """See :class:`~lightning_advinterp.networks.request.Source`; there is nothing to download."""
