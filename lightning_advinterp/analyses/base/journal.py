"""The memory of an interrupted evaluation."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_advinterp.analyses.base.protocol import Keeping
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.files import set_aside, write_atomically
from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.core.tensor_files import read_tensor_file, save_plainly

_log = logging.getLogger(__name__)

_ANY_NUMBER = 0
"""Stands for the number of processes in the file of what is merged."""

_CHEAP = 1.5
"""Seconds that a writing may take at the usual pace: 5 % of half a minute."""

_FORMAT = 5
"""Counts up when an entry comes to mean something else, such as another order of sweeps: older ones are no help."""


class Journal:
    """Keeps the analyses' states beside the number of images they have seen.

    The file's name must carry everything that the states depend on (weights, data, settings), so that nothing
    stale is ever taken up again. A finished run removes its file, unless its caller wants to.

    Of several processes each has a file of its share. What all found in the complete sweeps, merged, is in one file
    more, of the first process, from which any number of processes goes on.

    Args:
        path: the file of this process's share; ``None`` keeps nothing.
        world_size: number of processes; shares of more or of fewer are no help, since each was another.
        every_seconds: how much work an interruption may cost. Where writing takes more than 1.5 s, the pause grows in
            proportion, so that writing takes at most 5 % of the time at the default of 30 s.
        settled: the file of what is merged; None where one process alone keeps it in its share.
        first: whether this process writes it.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        world_size: int = 1,
        every_seconds: float = 30.0,
        settled: Path | None = None,
        first: bool = True,
    ) -> None:
        self._path, self._world_size, self._every = path, world_size, every_seconds
        self._settled, self._first = settled, first
        self._uses_share = self._uses_merged = True
        self._saved, self._took = time.monotonic(), 0.0

    @classmethod
    def of(cls, path: Path | None, processes: Processes = ALONE) -> "Journal":
        """Return the journal of a process.

        Args:
            path: from which the names of all files are made; ``None`` keeps nothing.
            processes: this process among the others.
        """
        if path is None:
            return cls(None, world_size=processes.size)
        share, settled = (path.with_name(f"{path.name}.{end}") for end in (processes.rank, "merged"))
        return cls(share, world_size=processes.size, settled=settled, first=processes.first)

    @property
    def sweep(self) -> int | None:
        """The sweep that was under way, None where nothing is kept."""
        return self.place[0]

    @property
    def place(self) -> tuple[int | None, bool]:
        """The sweep that was under way, and whether this process's share of it is kept."""
        entry = self._read()
        return (None, False) if entry is None else (int(entry["sweep"]), bool(entry["world_size"]))

    def leave_share(self) -> None:
        """Go on from what is merged alone."""
        self._uses_share = False

    def leave_merged(self) -> None:
        """Start anew, where some processes cannot read what is merged."""
        self._uses_merged = False

    def resume(self, sweep: int, analyses: Sequence[Keeping]) -> int | None:
        """Load the states of this sweep, and return how many images they have seen already.

        Returns:
            None if a later sweep was under way: this one is complete.
        """
        entry = self._read()
        if entry is None or entry["sweep"] < sweep:
            return 0
        if entry["sweep"] > sweep:
            return None
        try:
            for analysis in analyses:
                if analysis.name in entry["states"]:
                    analysis.load_state_dict(entry["states"][analysis.name])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            path = self._path if entry["world_size"] else self._settled
            assert path is not None
            set_aside(path, f"the journal's states are of another kind ({type(error).__name__}: {error})")
            # Some are loaded, some are not: this process has nothing to start anew with.
            raise RunStoppedError(f"{path} could not be taken up; start the same command again.") from error
        return int(entry["done"])

    def save(self, sweep: int, done: int, analyses: Sequence[Keeping], *, now: bool = False) -> None:
        """Write the states, if the last time is long enough ago for what it took, or ``now``."""
        pause = self._every * max(1.0, self._took / _CHEAP)
        if self._path is not None and (now or time.monotonic() - self._saved >= pause):
            self._write(self._path, self._world_size, sweep, done, analyses)

    def settle(self, sweep: int, analyses: Sequence[Keeping]) -> None:
        """Write the states before the first image of a sweep, which are the same in all processes."""
        if self._world_size == 1 or self._settled is None:
            self.save(sweep, 0, analyses, now=True)
        elif self._first:
            self._write(self._settled, _ANY_NUMBER, sweep, 0, analyses)

    def _write(self, path: Path, world_size: int, sweep: int, done: int, analyses: Sequence[Keeping]) -> None:
        began = time.monotonic()
        states = {analysis.name: analysis.state_dict() for analysis in analyses}
        shape = {"format": _FORMAT, "world_size": world_size}
        entry = shape | {"sweep": sweep, "done": done, "states": states}
        write_atomically(path, lambda file: save_plainly(entry, file))
        self._saved = time.monotonic()
        self._took = self._saved - began

    def close(self) -> None:
        """The run is complete: forget it."""
        for path in (self._path, self._settled if self._first else None):
            if path is not None:
                path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        """Return this process's share of the sweep under way, or else what was merged before it."""
        share = _entry_in(self._path) if self._uses_share else None
        if share is not None and share["world_size"] != self._world_size:
            share = None
        merged = _entry_in(self._settled) if self._uses_merged else None
        if share is None or merged is None:
            return merged if share is None else share
        return share if share["sweep"] >= merged["sweep"] else merged

    def say_what_is_lost(self) -> None:
        """Warn of a share of an interrupted sweep that is of no use, as after another number of processes."""
        share = _entry_in(self._path)
        if share is None:
            return
        sweep, is_share = self.place
        if not is_share and share["sweep"] >= (sweep or 0):
            _log.warning(
                "What an interrupted run left of its last sweep (processes: %d) is of no use now (processes: %d): "
                "the %s starts anew.",
                share["world_size"],
                self._world_size,
                "work" if sweep is None else "sweep",
            )


def _entry_in(path: Path | None) -> dict[str, Any] | None:
    """Return what a file of a journal holds; None where it is absent or of no use."""
    if path is None or not path.exists():
        return None
    try:
        entry: Any = read_tensor_file(path, what="journal")
    except (ValueError, OSError) as error:
        set_aside(path, str(error).rstrip("."))
        return None
    if isinstance(entry, dict) and entry.get("format") != _FORMAT:
        _log.warning("%s was left by another version of the package; the work starts anew.", path)
        path.unlink(missing_ok=True)
        return None
    if not isinstance(entry, dict):
        return None
    counts, states = [entry.get(key) for key in ("world_size", "sweep", "done")], entry.get("states")
    if not isinstance(states, dict) or not all(type(count) is int and count >= 0 for count in counts):
        set_aside(path, "what the journal holds is none")
        return None
    return entry


def take_up_together(journal: Journal, processes: Processes) -> None:
    """Let all processes go on from the same place, and say what cannot be used of what an interrupted run left.

    Args:
        journal: of this process.
        processes: this process among the others, which all call this.
    """
    if processes.size > 1 and len(set(processes.gathered(journal.place))) > 1:
        journal.leave_share()
        if len(set(processes.gathered(journal.place))) > 1:  # not all see the first process's file
            journal.leave_merged()
    if processes.first:
        journal.say_what_is_lost()
