"""Analyses that cannot be run, where all were asked for: each is left out with its reason, and the others go on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from lightning_advinterp.analyses.base.failures import failed_analysis
from lightning_advinterp.analyses.registry import QUESTIONS
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.core.errors import RunStoppedError, asked_to_stop, ended_worker
from lightning_advinterp.data.decode import BadImageError


class LeftOut:
    """Notes what is left out; where single analyses were asked for, nothing is, and their errors pass.

    Args:
        evaluation: what is asked for.
        console: where to print the reasons.

    Attributes:
        reasons: by analysis.
    """

    def __init__(self, evaluation: Evaluation, console: Console) -> None:
        self.reasons: dict[str, str] = {}
        self._console, self._all = console, evaluation.asks_for_all
        if self._all:
            for name in QUESTIONS.keys() - set(evaluation.question_names()):
                self._note([name], ValueError(f"it needs {QUESTIONS[name].data}, which are not given"))

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
        except Exception as error:
            if not self._all or asked_to_stop(error) or ended_worker(error):
                raise
            self._note(self.remaining(names), error)

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
            failed = failed_analysis(error)
            names = [name for name, analyses in built.items() if failed in {analysis.name for analysis in analyses}]
            if not self._all or not names or asked_to_stop(error) or ended_worker(error):
                raise
            self._note(names[:1], error)

    def _note(self, names: Sequence[str], error: Exception) -> None:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0] if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {lines[0]}"
        for name in names:
            self.reasons[name] = reason
            self._console.print(f"  {name}: left out, {reason}", soft_wrap=True, markup=False, highlight=False)
