"""The bars that count images, for whatever looks at many."""

import time
from collections.abc import Callable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lightning_advinterp.analyses.base.costs import SweepCost
from lightning_advinterp.analyses.base.watch import Watch


def image_progress(shown: bool) -> Progress:
    """Return a bar with the images done, all of them, and the time that is left; it vanishes at the end.

    Args:
        shown: draw it.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, transient=True, disable=not shown)


def clock_time(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds.

    >>> clock_time(3725.4), clock_time(100 * 3600)
    ('1:02:05', '100:00:00')
    """
    total = round(seconds)
    return f"{total // 3600}:{total // 60 % 60:02d}:{total % 60:02d}"


class Course:
    """How much of the announced work is done, and how long the rest takes at the pace so far.

    What is left of a run over the data takes that run's own pace, once it has one: analyses differ in what they do
    beside the passes.

    What an earlier start has done, and what turns out not to be needed, is no work; what was not announced takes time
    and is none either, so that the time that is left is then stated too long.

    Args:
        work: all of it, in any unit.
        clock: returns seconds.

    Attributes:
        done: the part of the work that is done.
    """

    def __init__(self, work: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.work, self.done = work, 0.0
        self._clock, self._begun = clock, clock()
        self._run_work, self._run_done, self._run_begun = 0.0, 0.0, self._begun

    def begins(self, work: float) -> None:
        """Begin a run over the data, of which so much work is to be done."""
        self._run_work, self._run_done, self._run_begun = work, 0.0, self._clock()

    def advance(self, work: float) -> None:
        """Note work of the run under way."""
        self.done += work
        self._run_done += work

    def drop(self, work: float) -> None:
        """Leave out a part of the work."""
        self.work -= work

    @property
    def left(self) -> float | None:
        """Seconds until all is done; None before anything is."""
        if self.done <= 0:
            return None
        now, rest = self._clock(), max(0.0, self.work - self.done)
        pace = (now - self._begun) / self.done
        run_rest = min(rest, max(0.0, self._run_work - self._run_done))
        run_pace = (now - self._run_begun) / self._run_done if self._run_done > 0 else pace
        return run_pace * run_rest + pace * (rest - run_rest)


class SweepBar(Watch):
    """A bar for each run over the data, with the time that is left until all of them are done.

    Args:
        course: of all runs that are announced, those of later runners too.
        shown: draw it.
    """

    def __init__(self, course: Course, *, shown: bool) -> None:
        self.course, self._shown = course, shown
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._images, self._work, self._done = 1, 0.0, 0

    def leaves_out(self, cost: SweepCost) -> None:
        """Drop its work."""
        self.course.drop(cost.work)

    def begins(self, title: str, cost: SweepCost, images: int, done: int) -> None:
        """Draw a bar of this process's images."""
        self._images, self._work, self._done = max(1, images), cost.work, done
        self.course.drop(cost.work * done / self._images)
        self.course.begins(cost.work * (self._images - done) / self._images)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Progress(*columns, transient=True, disable=not self._shown)
        self._task = self._bar.add_task(title, total=images, completed=done, left=self._left())
        self._bar.start()

    def reached(self, done: int) -> None:
        """Count images, and what they cost."""
        self.course.advance(self._work * (done - self._done) / self._images)
        self._done = done
        if self._bar is not None:  # inside another bar, nobody else refreshes it
            self._bar.update(self._task, completed=done, left=self._left(), refresh=True)

    def ends(self) -> None:
        """Wipe the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _left(self) -> str:
        seconds = self.course.left
        return "" if seconds is None else f"all done in {clock_time(seconds)}"
