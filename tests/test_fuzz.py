"""A short, seeded part of ``tests/fuzz.py``: no traceback, hang, crash, execution or silently different number."""

from collections import Counter

import pytest
from fuzzing.engine import fuzz
from fuzzing.probes import PROBES
from fuzzing.readers import READERS

CASES = 8
"""Of every reader."""


@pytest.mark.slow
def test_no_mutated_file_is_taken_wrongly_or_ends_in_a_traceback():
    tally = fuzz([reader.name for reader in READERS], iter(range(CASES)), timeout=60)
    total = sum(tally.counts.values(), Counter())
    assert total.total() == CASES * len(READERS)
    assert total["clear"] > total.total() / 3, "mutations are seen"
    assert not tally.faults, "\n".join(tally.lines())


@pytest.mark.slow
def test_the_fuzz_sees_what_must_not_be():
    names = [""] * len(READERS) + [probe.name for probe in PROBES]
    tally = fuzz(names, iter(range(2)), timeout=60)
    counted = {name.removeprefix("probe "): set(counts) - {"same"} for name, counts in tally.counts.items()}
    outcomes = ("clear", "different", "wrong", "unclear", "traceback", "execution", "crash")
    assert counted == {name: {name} for name in outcomes} | {"insane": {"wrong"}}
    assert tally.faults >= 6
