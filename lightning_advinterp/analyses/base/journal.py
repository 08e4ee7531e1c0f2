"""The memory of an interrupted evaluation."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_advinterp.analyses.base.protocol import Keeping
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.files import set_aside, write_atomically
from lightning_advinterp.core.tensor_files import read_tensor_file, save_plainly

_log = logging.getLogger(__name__)

_FORMAT = 5
"""Counts up when an entry comes to mean something else, such as another order of sweeps: older ones are no help."""


class Journal:
    """Keeps the analyses' states beside the number of images they have seen.

    The file's name must carry everything that the states depend on (weights, data, settings), so that nothing
    stale is ever taken up again. A finished run removes its file, unless its caller wants to.

    Args:
        path: the file; ``None`` keeps nothing.
        world_size: number of processes; what was kept by more or by fewer is no help, since each had another share.
        every_seconds: how much work an interruption may cost.
    """

    def __init__(self, path: Path | None, *, world_size: int = 1, every_seconds: float = 30.0) -> None:
        self._path, self._world_size, self._every = path, world_size, every_seconds
        self._saved = time.monotonic()

    @property
    def sweep(self) -> int | None:
        """The sweep that was under way, None where nothing is kept."""
        entry = self._read()
        return None if entry is None else int(entry["sweep"])

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
            assert self._path is not None
            set_aside(self._path, f"the journal's states are of another kind ({type(error).__name__}: {error})")
            # Some are loaded, some are not: this process has nothing to start anew with.
            raise RunStoppedError(f"{self._path} could not be taken up; start the same command again.") from error
        return int(entry["done"])

    def save(self, sweep: int, done: int, analyses: Sequence[Keeping], *, now: bool = False) -> None:
        """Write the states, if the last time is long enough ago, or ``now``."""
        if self._path is None or not (now or time.monotonic() - self._saved >= self._every):
            return
        states = {analysis.name: analysis.state_dict() for analysis in analyses}
        shape = {"format": _FORMAT, "world_size": self._world_size}
        entry = shape | {"sweep": sweep, "done": done, "states": states}
        write_atomically(self._path, lambda file: save_plainly(entry, file))
        self._saved = time.monotonic()

    def close(self) -> None:
        """The run is complete: forget it."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        if self._path is None or not self._path.exists():
            return None
        try:
            entry: Any = read_tensor_file(self._path, what="journal")
        except (ValueError, OSError) as error:
            set_aside(self._path, str(error).rstrip("."))
            return None
        if isinstance(entry, dict) and entry.get("format") != _FORMAT:
            _log.warning("%s was left by another version of the package; the work starts anew.", self._path)
            self._path.unlink()
            return None
        if not isinstance(entry, dict) or entry.get("world_size") != self._world_size:
            return None
        counts, states = [entry.get("sweep"), entry.get("done")], entry.get("states")
        if not isinstance(states, dict) or not all(type(count) is int and count >= 0 for count in counts):
            set_aside(self._path, "what the journal holds is none")
            return None
        return entry
