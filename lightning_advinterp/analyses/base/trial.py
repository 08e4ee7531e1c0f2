"""What a run over data will take, from a few batches of it."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from lightning_advinterp.analyses.base.costs import SweepCost
from lightning_advinterp.analyses.base.pass_seconds import wait_for
from lightning_advinterp.analyses.base.time_limits import limited
from lightning_advinterp.analyses.base.watch import Watch
from lightning_advinterp.core.memory import forget_peak, memory_peak, return_freed_memory


@dataclass
class SweepTimes:
    """What was timed of one run over the data.

    Attributes:
        cost: of the trial's images.
        images: of every batch.
        observing: seconds of every batch until it was observed.
        updating: analysis to the seconds that it took for every batch.
        peak: the most bytes of memory; None where the system does not say.
        short_peak: the same of the last batch alone, if it is shorter than the others.
    """

    cost: SweepCost
    images: list[int] = field(default_factory=list)
    observing: list[float] = field(default_factory=list)
    updating: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    peak: int | None = None
    short_peak: int | None = None

    def memory_of(self, batch: int, stays: int) -> float:
        """Return the bytes that a batch takes beyond what stays: a fixed part and one for each image.

        Args:
            batch: images.
            stays: bytes that stayed from batch to batch in the trial.
        """
        assert self.peak is not None
        large, small = max(self.images), self.images[-1]
        taken = max(0, self.peak - stays)
        if self.short_peak is None or small == large:
            return taken * batch / large
        image = min(max(0.0, (self.peak - self.short_peak) / (large - small)), taken / large)
        return taken + image * (batch - large)


class Stopwatch(Watch):
    """Times a run over few images, from which :meth:`seconds_of` says what one over many takes.

    Args:
        device: of the network.

    Attributes:
        sweeps: by their place.
    """

    def __init__(self, device: torch.device) -> None:
        self.sweeps: dict[int, SweepTimes] = {}
        self._device, self._current, self._last = device, SweepTimes(SweepCost(0, 0, 0, 0, {})), 0.0
        self._images = 0

    def begins(self, title: str, cost: SweepCost, images: int, done: int) -> None:
        """Start; what the C library keeps of earlier tensors is not what this run takes."""
        return_freed_memory()
        forget_peak(self._device)
        self._current, self._images = SweepTimes(cost), images
        self.sweeps[cost.place] = self._current
        self._last = time.perf_counter()

    def observed(self, images: int) -> None:
        """Note a batch."""
        self._current.images.append(images)
        self._current.observing.append(self._lap())

    def updated(self, analysis: str) -> None:
        """Note what an analysis took."""
        self._current.updating[analysis].append(self._lap())

    def reached(self, done: int) -> None:
        """Leave out what is done between batches, such as writing a journal; look at a short last batch apart."""
        left = self._images - done
        if self._current.images and 0 < left < self._current.images[-1]:
            self._current.peak = memory_peak(self._device)
            return_freed_memory()
            forget_peak(self._device)
        self._lap()

    def ends(self) -> None:
        """Note the most memory."""
        if self._current.peak is None:
            self._current.peak = memory_peak(self._device)
        else:
            self._current.short_peak = memory_peak(self._device)

    @property
    def total(self) -> float:
        """Seconds of all sweeps."""
        return sum(sum(times.observing) + sum(map(sum, times.updating.values())) for times in self.sweeps.values())

    def seconds_of(self, costs: Sequence[SweepCost], limits: Mapping[str, float]) -> float:
        """Return what the same sweeps over more images take.

        Args:
            costs: of these; an analysis' own passes are not as many of each image as in the trial.
            limits: analysis to the seconds that it takes at most, of those that keep a time.
        """
        seconds = 0.0
        for cost in costs:
            times = self.sweeps.get(cost.place)
            if times is None or not times.images:
                continue
            seconds += extended(times.observing, times.images, cost.images)
            for analysis, updating in times.updating.items():
                share = _share_of_passes(analysis, times.cost, cost)
                longer = extended(updating, times.images, cost.images * share)
                seconds += limited(longer, limits.get(analysis), cost.images)
        return seconds

    def memory_of(self, costs: Sequence[SweepCost], batch_size: int, trial: "HeldMemory", whole: "HeldMemory") -> int:
        """Return the bytes that a process holds at most in the same sweeps over more images.

        What stays from batch to batch is stated; the rest of what a sweep of the trial took has a fixed part and one
        that grows with the batch, which a shorter last batch tells apart. Without one, all of it grows.

        Args:
            costs: of these.
            batch_size: theirs; an analysis may ask for fewer images at a time.
            trial: what stayed from batch to batch in the trial.
            whole: what will stay.
        """
        most = 0.0
        for cost in costs:
            times = self.sweeps.get(cost.place)
            if times is None or not times.images or times.peak is None:
                continue
            batch = min(cost.images, batch_size, batch_size if cost.batch is None else cost.batch)
            most = max(most, times.memory_of(batch, trial.total))
        return whole.total + round(most)

    def _lap(self) -> float:
        wait_for(self._device)
        now = time.perf_counter()
        lap, self._last = now - self._last, now
        return lap


@dataclass(frozen=True)
class HeldMemory:
    """Bytes that stay from batch to batch.

    Attributes:
        process: before the first batch.
        states: of the analyses.
        remembered: activations that are held from one sweep to the next.
    """

    process: int
    states: int
    remembered: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.process + self.states + self.remembered


def extended(seconds: Sequence[float], images: Sequence[int], count: float) -> float:
    """Return the seconds of so many images; what the first batch takes beyond its like comes once.

    Args:
        seconds: of every batch.
        images: of every batch.
        count: images that are asked for.
    """
    if len(images) == 1 or not sum(images[1:]):
        return seconds[0] / max(1, images[0]) * count
    rate = sum(seconds[1:]) / sum(images[1:])
    return rate * count + max(0.0, seconds[0] - rate * images[0])


def _share_of_passes(analysis: str, trial: SweepCost, cost: SweepCost) -> float:
    """Return how many of its own passes an analysis makes of an image, over how many it made in the trial."""
    before, now = trial.of_analyses.get(analysis), cost.of_analyses.get(analysis)
    if not before or not now or not trial.images or not cost.images:
        return 1.0
    return sum(now) / cost.images / (sum(before) / trial.images)


@dataclass(frozen=True)
class Estimate:
    """What an evaluation will take; estimates add up.

    Attributes:
        seconds: of the sweeps, which processes share.
        alone: seconds of results, figures and files, which one process makes.
        memory: bytes at most in one process; None where the system does not say.
        journals: bytes until the end.
        files: bytes that stay.
    """

    seconds: float = 0.0
    alone: float = 0.0
    memory: int | None = None
    journals: int = 0
    files: int = 0

    def __add__(self, addend: "Estimate") -> "Estimate":
        memory = max((each for each in (self.memory, addend.memory) if each is not None), default=None)
        return Estimate(
            self.seconds + addend.seconds,
            self.alone + addend.alone,
            memory,
            self.journals + addend.journals,
            self.files + addend.files,
        )
