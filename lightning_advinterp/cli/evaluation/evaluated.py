"""What an evaluation of one network leaves: results, their folder, and notes for the case of an interruption."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from lightning_advinterp.analyses.base.trial import Estimate
from lightning_advinterp.cli.evaluation.place import forget_states, journal_of, note_of
from lightning_advinterp.core.files import read_sealed, write_sealed
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.store import differing, read_record


@dataclass(frozen=True)
class Evaluated:
    """The results of one network.

    Attributes:
        results: by analysis; none in a dry run.
        folder: where its files are.
        key: names what an interrupted evaluation would go on from.
        estimate: what a dry run found that it will take.
    """

    results: dict[str, Result] = field(default_factory=dict)
    folder: Path | None = None
    key: str = ""
    estimate: Estimate = Estimate()  # noqa: RUF009  # frozen

    def finish(self) -> None:
        """Put the results, which are small, into the place of the journals, which are not."""
        assert self.folder is not None
        note = {name: {"scalars": result.scalars, "tables": result.tables} for name, result in self.results.items()}
        write_sealed(note_of(self.folder, self.key), json.dumps(note, default=float).encode())
        for path in self.folder.glob(f"{journal_of(self.folder, self.key, '').name}*"):
            path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete what is left for the case of an interruption."""
        if self.folder is not None:
            forget_states(self.folder, self.key)


def finished_before(folder: Path, key: str) -> dict[str, Result] | None:
    """Return the results that an interrupted command noted for a network, where its files are all there."""
    note = read_sealed(note_of(folder, key), "what was found before the interruption")
    record = read_record(folder)
    if note is None or not record or differing(folder, record):
        return None
    contents = json.loads(note)
    return {name: Result(name, content["scalars"], content["tables"]) for name, content in contents.items()}
