"""Analyses that cannot be run, where all were asked for: each is left out with its reason, and the others go on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from lightning_advinterp.analyses.base.failures import failed_analysis
from lightning_advinterp.analyses.registry import QUESTIONS
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.core.errors import Failure, PeerFailedError, RunStoppedError, asked_to_stop, ended_worker
from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.data.decode import BadImageError


class LeftOut:
    """Notes what is left out; where single analyses were asked for, nothing is, and their errors pass.

    Args:
        evaluation: what is asked for.
        console: where to print the reasons.
        processes: this process among those that share the work, which leave out the same.

    Attributes:
        reasons: by analysis.
    """

    def __init__(self, evaluation: Evaluation, console: Console, processes: Processes = ALONE) -> None:
        self.reasons: dict[str, str] = {}
        self._console, self._all, self._processes = console, evaluation.asks_for_all, processes
        if self._all:
            for name in QUESTIONS.keys() - set(evaluation.question_names()):
                self._note([name], f"it needs {QUESTIONS[name].data}, which are not given")

    def remaining(self, names: Iterable[str]) -> list[str]:
        """Return those of some analyses that are not left out."""
        return [name for name in names if name not in self.reasons]

    def refuse_if_all(self, names: Sequence[str]) -> None:
        """Refuse an evaluation of which nothing remains.

        Raises:
            ValueError: with the reasons.
        """
        if not self.remaining(names):
            reasons = "; ".join(f"{name}: {self.reasons[name]}" for name in names)
            raise ValueError(f"analyses: none of all can be run here. {reasons}")

    @contextmanager
    def whole(self, names: Sequence[str]) -> Iterator[None]:
        """Leave out several analyses where what they have in common cannot be had."""
        try:
            yield
            if self._all:
                self._processes.meet()  # what another process cannot do is left out by all
        except Exception as error:
            if not self._all or asked_to_stop(error) or ended_worker(error):
                raise
            remaining = self.remaining(names)
            self._note(remaining, self._agreed(error, ", ".join(remaining)).line)

    @contextmanager
    def single(self, name: str) -> Iterator[None]:
        """Leave out an analysis that cannot be built."""
        with self.whole([name]):
            yield

    @contextmanager
    def running(self, built: Mapping[str, Sequence[Any]]) -> Iterator[None]:
        """Leave out the analysis that fails on images, or whose figures do; the others are to be started again.

        Args:
            built: what runs, by the names of the analyses.
        """
        try:
            yield
        except (OSError, BadImageError, RunStoppedError, MemoryError):
            raise  # no fault of an analysis
        except Exception as error:
            failed = error.failure.analysis if isinstance(error, PeerFailedError) else failed_analysis(error)
            if not self._all or _named(failed, built) is None or asked_to_stop(error) or ended_worker(error):
                raise
            failure = self._agreed(error, failed)
            name = _named(failure.analysis, built)
            self._note([] if name is None else [name], failure.line)

    def _agreed(self, error: Exception, failed: str | None) -> Failure:
        """Return which failure all processes act on.

        Raises:
            PeerFailedError: if it is one after which nothing goes on.
        """
        if isinstance(error, PeerFailedError):
            failure = error.failure
        else:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = lines[0] if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {lines[0]}"
            failure = self._processes.agreed(Failure(self._processes.rank, reason, analysis=failed))
        if failure.analysis is None:
            raise PeerFailedError(failure) from error
        return failure

    def _note(self, names: Sequence[str], reason: str) -> None:
        for name in names:
            self.reasons[name] = reason
            self._console.print(f"  {name}: left out, {reason}", soft_wrap=True, markup=False, highlight=False)


def _named(failed: str | None, built: Mapping[str, Sequence[Any]]) -> str | None:
    """Return the question whose analysis failed; None for none of them."""
    names = [name for name, analyses in built.items() if failed in {analysis.name for analysis in analyses}]
    return names[0] if names else None
