"""A time budget of what is watched in an epoch: how many images each question gets, and what it leaves out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, final

import pytorch_lightning as pl

_FEWEST = 8
"""Images of the first trial; a question that cannot be asked of so few is tried with more."""
_AIM = 0.75
"""Share of the time that a run is planned to take: drawing and files take more, and a machine has other work."""


@final
class BudgetCallback(pl.Callback):
    """Keeps what is watched in an epoch within some seconds, by fewer images of each question.

    The questions of an epoch share the seconds evenly; what one leaves is the next one's. The first time, a few images
    tell what an image costs, and this time counts too. The number of images is then kept, so that epochs compare, until
    an epoch takes longer than its share. A question that its fewest images would keep too long is left out of an epoch.
    A line says how many images are left out, or the question. Accuracy is not counted: checkpoints are chosen by it.

    The number of images depends on the machine's speed, what is trained does not.

    Args:
        seconds: of an epoch.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"watch_seconds must be above 0, or null for no limit, got {seconds}.")
        self.seconds = seconds
        self._limits: dict[str, int] = {}
        self._fewest: dict[str, int] = {}
        self._costs: dict[str, float] = {}
        self._epoch, self._used, self._waiting = -1, 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on must remember: its epochs have as many images as before."""
        return {"limits": self._limits, "fewest": self._fewest, "costs": self._costs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the interrupted run was."""
        self._limits, self._fewest = dict(state_dict["limits"]), dict(state_dict["fewest"])
        self._costs = dict(state_dict["costs"])

    def opens(self, epoch: int, runs: int) -> None:
        """Begin an epoch.

        Args:
            epoch: its number.
            runs: how many runs over images are due in it.
        """
        if epoch != self._epoch:
            self._epoch, self._used, self._waiting = epoch, 0.0, runs

    @property
    def share(self) -> float:
        """Seconds that the next run may take."""
        return max(0.0, self.seconds - self._used) / max(1, self._waiting)

    def images(self, name: str, limit: int, trial: Callable[[int], None], trainer: pl.Trainer) -> int:
        """Return how many images a run may look at; 0: it is left out of this epoch.

        Args:
            name: of the run.
            limit: how many it would look at.
            trial: runs over so many images and forgets what it found; ``ValueError`` if these are too few.
            trainer: whose first process says how long it took, so that all decide alike.
        """
        if name in self._limits:
            if self._costs[name] * self._fewest[name] <= self.share:
                return min(limit, self._limits[name])
            self._costs[name] /= 2  # the machine may have less other work later: it is tried again
            return 0
        spent, measured = 0.0, list[tuple[int, float]]()
        size = min(_FEWEST, limit)
        while size < limit and len(measured) < 2 and 4 * spent <= self.share:
            began = time.monotonic()
            try:
                trial(size)
            except ValueError:  # too few for this question
                measured = []
                took = trainer.strategy.broadcast(time.monotonic() - began)
            else:
                took = trainer.strategy.broadcast(time.monotonic() - began)
                measured.append((size, took))
            spent += took
            size *= 2
        self._used += spent
        self._fewest[name] = measured[0][0] if measured else size
        images = _affordable(measured, self.share * _AIM, limit) if measured else limit
        self._costs[name] = measured[-1][1] / measured[-1][0] if measured else 0.0
        self._limits[name] = max(self._fewest[name], images)
        return 0 if images < self._fewest[name] else images

    def spend(self, seconds: float, trainer: pl.Trainer) -> None:
        """Note what was needed beside a run: figures and files of what shared it."""
        self._used += trainer.strategy.broadcast(seconds)

    def took(self, name: str, images: int, seconds: float, trainer: pl.Trainer) -> None:
        """Note what a run took, with its figures and files; fewer images are looked at next time if it was too long.

        Args:
            name: of the run.
            images: at how many it looked; 0: it was left out.
            seconds: on this process; the first one's count.
            trainer: of the processes.
        """
        share, seconds = self.share, trainer.strategy.broadcast(seconds)
        self._used += seconds
        self._waiting = max(0, self._waiting - 1)
        if images:
            self._costs[name] = seconds / images
            if seconds > share:
                self._limits[name] = max(self._fewest[name], int(images * _AIM * share / seconds))


def _affordable(measured: Sequence[tuple[int, float]], seconds: float, limit: int) -> int:
    """Return how many images fit into so many seconds, by what fewer took."""
    (few, short), (many, long) = measured[0], measured[-1]
    each = (long - short) / (many - few) if many > few else short / few
    if each <= 0:  # the first one also read what all need
        each = long / many
    fixed = max(0.0, long - each * many)
    return max(0, min(limit, int((seconds - fixed) / each)))
