"""Reads mutated files by every reader: ``python tests/fuzz.py --minutes 20``.

Prints counts by reader and outcome, then every finding with the cases that show it; the exit status is 1 if there is
one. A case is repeated by ``--reader NAME --seed SEED``.
"""

import argparse
import sys
import time
from itertools import count
from pathlib import Path

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "data")]

from fuzzing.engine import fuzz  # noqa: E402
from fuzzing.readers import READERS  # noqa: E402


def main() -> None:
    """Run, print, and say by the exit status whether there are findings."""
    parser = argparse.ArgumentParser(description="Mutated files for every reader.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, help="run this seed alone")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--reader", action="append", help="readers whose names hold this; all if left out")
    options = parser.parse_args()
    names = [
        reader.name if not options.reader or any(part in reader.name for part in options.reader) else ""
        for reader in READERS
    ]
    seeds = count(options.first) if options.seed is None else iter([options.seed])
    tally = fuzz(names, seeds, time.monotonic() + 60 * options.minutes)
    print("\n".join(tally.lines()))
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
