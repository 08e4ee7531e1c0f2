"""What hears how a run over data goes on: the bar that a user sees, or the stopwatch of a trial."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lightning_advinterp.analyses.base.costs import SweepCost


class Watch:
    """Hears nothing; see :class:`~lightning_advinterp.analyses.base.progress.SweepBar`."""

    def leaves_out(self, cost: SweepCost) -> None:
        """Hear that a run over the data is not needed, or was done by an earlier start."""

    def begins(self, title: str, cost: SweepCost, images: int, done: int) -> None:
        """Hear that a run over the data begins.

        Args:
            title: what it is called.
            cost: of all processes' shares together.
            images: of this process's share.
            done: how many of these an earlier start has looked at.
        """

    def observed(self, images: int) -> None:
        """Hear that so many images were loaded, attacked, and have passed the network."""

    def updated(self, analysis: str) -> None:
        """Hear that an analysis has taken in what was observed."""

    def reached(self, done: int) -> None:
        """Hear that so many images of this process's share are done."""

    def ends(self) -> None:
        """Hear that the run over the data is over."""


@dataclass(frozen=True)
class WatchedSweep:
    """A run over the data, before it begins.

    Attributes:
        watch: hears of it.
        title: what it is called.
        cost: of all processes' shares together.
    """

    watch: Watch
    title: str
    cost: SweepCost

    @contextmanager
    def over(self, images: int, done: int) -> Iterator[Watch]:
        """Tell the watch that the run begins, and at the end of the block, that it ends; see :meth:`Watch.begins`."""
        self.watch.begins(self.title, self.cost, images, done)
        try:
            yield self.watch
        finally:
            self.watch.ends()


UNWATCHED = WatchedSweep(Watch(), "", SweepCost(0, 0, 0, 0, {}))
"""A run over the data of which nobody hears."""
