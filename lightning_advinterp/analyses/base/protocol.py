"""The protocol of every analysis, and the data it returns."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.networks.network import Network


@dataclass(frozen=True)
class Sweep:
    """One run over the data, and what an analysis wants to see of it.

    Attributes:
        layers: layers whose activations are read, paths in the backbone.
        kinds: image kinds, :data:`REAL` or names of attacks; none: no image is shown.
        labels: whether true labels are needed; without, an untargeted attack moves an image that has none away from
            the network's own prediction.
        resumable: whether an interrupted run may go on in the middle of it, from the analysis' state alone.
        forwards: further forward passes of every image that the analysis makes itself.
        batch: at most so many images at a time, where an image takes long: progress is shown, and kept, by batches.
        optional: whether it may turn out not to be needed; see :class:`Skipping`. Costs are stated without it.
        chosen: at most so many images, which a :class:`Choosing` analysis chooses once all others have their results;
            such a sweep comes last. None: all images.
    """

    layers: tuple[str, ...] = ()
    kinds: tuple[str, ...] = (REAL,)
    labels: bool = True
    resumable: bool = True
    forwards: int = 0
    batch: int | None = None
    optional: bool = False
    chosen: int | None = None


@dataclass(frozen=True)
class Plan:
    """What an analysis, bound to a network, wants of a runner.

    Attributes:
        sweeps: its runs over the data, in order.
        passes: forward and backward passes of an image that it makes itself, beside what the runner makes; on average,
            where it does not make them of every image.
    """

    sweeps: tuple[Sweep, ...]
    passes: tuple[float, float] = (0, 0)


Needs = Plan
"""The former name of :class:`Plan`, so that a file written for it is read, and told what to rename."""


@dataclass(frozen=True)
class Observation:
    """One batch as seen by the analyses.

    Attributes:
        index: int64 ``[B]``, the images' numbers in the data set.
        label: int64 ``[B]``.
        images: kind to float32 ``[B, 3, H, W]`` in [0, 1].
        logits: kind to ``[B, K]``.
        activations: kind to layer to activation.
        goal: attack's name to int64 ``[B]``, the class it aims at, or moves away from if untargeted.
        success: attack's name to bool ``[B]``, whether the prediction is what the attack wanted.
        attacked: attack's name to bool ``[B]``, false where its target is the true class; all are, where it is missing.
    """

    index: Tensor
    label: Tensor
    images: Mapping[str, Tensor]
    logits: Mapping[str, Tensor]
    activations: Mapping[str, Mapping[str, Tensor]]
    goal: Mapping[str, Tensor]
    success: Mapping[str, Tensor]
    attacked: Mapping[str, Tensor] = field(default_factory=dict)


class Keeping(Protocol):
    """What is kept over an interruption, and merged between processes."""

    @property
    def name(self) -> str:
        """Under which its state is kept."""

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict` to this one."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain data, tensors and arrays."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the state."""


class Analysis(Protocol):
    """A question asked of a network over data. States merge, so that N processes answer like one."""

    name: str

    def bind(self, network: Network) -> Plan:
        """Learn the network, and return the sweeps over its data; called once, before the first batch.

        No other method is told of the network.

        Raises:
            ValueError: if the analysis cannot be asked of this network.
        """

    def update(self, sweep: int, observation: Observation) -> None:
        """Take in one batch of the given sweep."""

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict` to this one."""

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and counts so far, as plain types and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the sums and counts."""

    def result(self) -> Result:
        """Return what was found."""


@runtime_checkable
class Expecting(Protocol):
    """An analysis that must know beforehand how many images there are."""

    def expect(self, images: int) -> None:
        """Learn the number of images that all processes together will show, before the first."""


@runtime_checkable
class Settling(Protocol):
    """An analysis whose later sweeps build on what all processes found in an earlier one."""

    def settle(self, sweep: int) -> None:
        """Conclude a sweep: this state holds what all processes found in it.

        What later sweeps add is merged in its turn, so it must be kept apart from what is settled.
        """


@runtime_checkable
class Skipping(Protocol):
    """An analysis that knows, once the sweeps before are settled, whether it needs an optional one."""

    def skips(self, sweep: int) -> bool:
        """Whether the sweep is to be left out; the same answer in all processes."""


@runtime_checkable
class Choosing(Protocol):
    """An analysis whose last sweep shows few images: those that figures of other analyses' results are drawn from."""

    def choose(self, results: Mapping[str, Result]) -> Collection[int]:
        """Return the numbers of the images to be shown, from the results of the analyses that do not choose."""


@runtime_checkable
class Remembering(Protocol):
    """An analysis that makes the same forward passes in several sweeps, and can hold some of them in between."""

    def remember(self, most: int) -> None:
        """Learn how many bytes it may hold, before the first batch."""


@runtime_checkable
class Holding(Protocol):
    """A :class:`Remembering` analysis that says what it held, from which a trial foretells the memory of a run."""

    @property
    def held(self) -> int:
        """Bytes that were held at once, at most."""


@runtime_checkable
class Timed(Protocol):
    """An analysis that may keep a time: when it is used up, no further images are taken. The first one always is."""

    @property
    def time_limit(self) -> float | None:
        """Seconds of its own work on each process; None: as long as it takes."""
