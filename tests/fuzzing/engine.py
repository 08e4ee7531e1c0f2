"""Runs cases in workers that may hang or die, and counts what came of them."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OUTCOMES = ("clear", "same", "different", "wrong", "unclear", "traceback", "hang", "crash", "execution")
"""An error that names its file; the value of the pristine files; another sound one; a wrong number without a word; an
error that names no file or speaks in a library's words; any other exception; no answer in time; a dead worker; code or
files outside of the case that the case reached."""
FAULTS = OUTCOMES[3:]

_TESTS = Path(__file__).parents[1]


@dataclass
class Tally:
    """Counts by reader and outcome, and the first findings of each kind."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    findings: dict[tuple[str, str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reader: str, outcome: str, detail: str, case: str) -> None:
        """Count one case; equal findings of a reader are listed once, with their cases."""
        self.counts[reader][outcome] += 1
        if outcome in FAULTS:
            self.findings[reader, outcome, detail].append(case)

    @property
    def faults(self) -> int:
        """Number of cases that must not be."""
        return sum(count[outcome] for count in self.counts.values() for outcome in FAULTS)

    def lines(self) -> Iterator[str]:
        """Yield a table, then the findings."""
        yield " | ".join(["reader".ljust(28), *(name.rjust(9) for name in OUTCOMES)])
        for reader in sorted(self.counts):
            yield " | ".join([reader.ljust(28), *(str(self.counts[reader][name]).rjust(9) for name in OUTCOMES)])
        total: Counter[str] = sum(self.counts.values(), Counter())
        yield " | ".join([f"all {total.total()}".ljust(28), *(str(total[name]).rjust(9) for name in OUTCOMES)])
        for (reader, outcome, detail), cases in sorted(self.findings.items()):
            yield f"{reader}: {outcome} ({len(cases)} ×): {detail}\n    cases {', '.join(cases[:6])}"


class Worker:
    """A process that runs cases; killed where it does not answer, and started again.

    Args:
        timeout: seconds that one case may take.
        memory: bytes of address space that a worker may take beyond what it starts with.
    """

    def __init__(self, timeout: float = 20.0, memory: int = 3 << 30) -> None:
        self.timeout, self.memory = timeout, memory
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._kill()
        self._folder.cleanup()

    def run(self, reader: int, seed: int) -> tuple[str, str, str]:
        """Run one case; return outcome, detail, and what was mutated how."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([reader, seed]) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self.timeout)
            line = process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = ""
        if line:
            outcome, detail, what = json.loads(line)
            return outcome, detail, what
        code = process.poll() if line is None else process.wait()
        self._kill()
        if line is None:
            return "hang", f"no answer within {self.timeout:g} s", ""
        return "crash", f"the worker ended with status {code}", ""

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            path = [str(_TESTS.parent), str(_TESTS), str(_TESTS / "data"), os.environ.get("PYTHONPATH", "")]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fuzzing.worker", self._folder.name, str(self.memory)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
            )  # fmt: skip
            assert self._process.stdout is not None
            if self._process.stdout.readline() != "ready\n":
                raise RuntimeError("the worker did not start: python -m fuzzing.worker says why")
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            self._process = None


def fuzz(names: list[str], seeds: Iterator[int], deadline: float | None = None, **limits: Any) -> Tally:
    """Run a case of every reader for every seed, until the seeds or the time run out.

    Args:
        names: of all readers, in the workers' order; an empty name is left out.
        seeds: of the cases.
        deadline: in ``time.monotonic``'s seconds.
        **limits: of :class:`Worker`.
    """
    tally = Tally()
    with Worker(**limits) as worker:
        for seed in seeds:
            for number, name in enumerate(names):
                if deadline is not None and time.monotonic() > deadline:
                    return tally
                if name:
                    outcome, detail, what = worker.run(number, seed)
                    tally.add(name, outcome, detail, f"{seed} {what}".strip())
    return tally
