"""What every source of architectures takes and can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from lightning_advinterp.networks.recipes import Recipe


@dataclass(frozen=True)
class Request:
    """What to build.

    Attributes:
        num_classes: number of logits, or None for the architecture's own.
        input_size: side in pixels if the user gave one.
        options: further arguments of the constructor.
        weights: the name of weights, or None where there are none or they come from a file.
        init: False where weights will replace the initial values.
    """

    num_classes: int | None = None
    input_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    init: bool = True


class Source(Protocol):
    """One architecture that can be built.

    Attributes:
        name: what a checkpoint calls it.
        options: arguments of its constructor that its name implies.
    """

    name: str
    options: Mapping[str, Any]

    def recipe(self, weights: str | None) -> Recipe:
        """Return how images are prepared for the named weights, or for the architecture.

        Raises:
            ValueError: if the weights have no such name, listing the names there are.
        """

    def build(self, request: Request) -> nn.Module:
        """Build the bare network.

        Raises:
            ValueError: if the architecture does not take the options.
        """

    def download(self, weights: str) -> dict[str, Tensor] | None:
        """Return the tensors of the named weights, or None where ``build`` has loaded them already."""
