"""The images whose predictions are traced: real, and under every attack."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.tracing.knowledge import Knowledge
from lightning_advinterp.analyses.tracing.tracer import Tracer
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.networks.network import Network

Traced = dict[str, dict[str, Any]]
"""What was found of an image, by image kind; see :meth:`~lightning_advinterp.analyses.tracing.tracer.Tracer.trace`."""


class TracedImages(Summed):
    """Traces every image that it is shown.

    Args:
        tracer: of the network.
        kinds: ``real`` and names of attacks.
        seed: of control units.

    Attributes:
        knowledge: what takes a unit's place; set before the first image.
        pictured: numbers of the images whose pictures are kept; None: of all.
        recalled: numbers of those on which the recall of a screening is measured.
    """

    name = "traced_images"
    summed: ClassVar[tuple[str, ...]] = ("found", "labels", "pictures")

    def __init__(self, tracer: Tracer, kinds: Sequence[str], seed: int) -> None:
        self.tracer, self.kinds, self.seed = tracer, tuple(kinds), seed
        self.knowledge = Knowledge()
        self.pictured: frozenset[int] | None = None
        self.recalled: frozenset[int] = frozenset()
        self.found: dict[int, Traced] = {}
        self.labels: dict[int, int] = {}
        self.pictures: dict[int, dict[str, Tensor]] = {}

    def bind(self, network: Network) -> Plan:
        """One sweep over all kinds of images; they need no label."""
        return Plan((Sweep((), self.kinds, labels=False, forwards=len(self.tracer.layers) * len(self.kinds)),))

    def update(self, sweep: int, observation: Observation) -> None:
        """Trace one batch."""
        numbers, labels = observation.index.tolist(), observation.label.tolist()
        keys = sample_keys(observation.index, seed=self.seed)
        recalled = [number in self.recalled for number in numbers]
        for kind in self.kinds:
            images = self.tracer.trace(observation.images[kind], labels, keys, self.knowledge, recalled)
            for place, number in enumerate(numbers):
                self.labels[number] = labels[place]
                self.found.setdefault(number, {})[kind] = images[place]
                if self.pictured is None or number in self.pictured:
                    pixels = (255 * observation.images[kind][place]).round().clamp(0, 255).byte().cpu()
                    self.pictures.setdefault(number, {})[kind] = pixels

    def picture(self, number: int, kind: str) -> NDArray[np.uint8]:
        """Return an image as uint8 ``[H, W, 3]``."""
        pixels: NDArray[np.uint8] = self.pictures[number][kind].permute(1, 2, 0).numpy()
        return pixels

    def right(self, number: int, kind: str = REAL) -> bool | None:
        """Whether the network gets an image right; None where it has no label."""
        label = self.labels[number]
        return None if label < 0 else bool(self.found[number][kind]["predicted"] == label)

    def features(self, number: int, kind: str) -> Tensor:
        """Return the units' mean activations, float32 ``[U]``."""
        activation: Tensor = self.found[number][kind]["activation"]
        return activation

    def result(self) -> Result:
        """Return nothing: tables are made where names are known."""
        return Result(self.name)


def picked(numbers: Sequence[int], count: int, seed: int) -> list[int]:
    """Return a seeded choice of numbers, in a random order that does not depend on how many are picked."""
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed)).tolist()
    return [numbers[place] for place in order[:count]]
