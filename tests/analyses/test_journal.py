"""How often an interrupted run's memory is written."""

import pytest

from lightning_advinterp.analyses.base import journal
from lightning_advinterp.analyses.base.journal import Journal


class SlowStates:
    """States that take some seconds of a clock to collect."""

    name = "slow"

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.written = clock, seconds, 0

    def state_dict(self):
        self.clock[0] += self.seconds
        self.written += 1
        return {}


@pytest.mark.parametrize(("seconds", "pause"), [(0.1, 30), (1.5, 30), (6, 120)])
def test_writing_takes_a_twentieth_of_the_time_at_most(tmp_path, monkeypatch, seconds, pause):
    """927 MB took 6 s every 30 s."""
    clock = [0.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: clock[0])
    file, states = Journal(tmp_path / "journal"), SlowStates(clock, seconds)
    file.save(0, 1, [states], now=True)
    clock[0] += pause - 1
    file.save(0, 2, [states])
    assert states.written == 1
    clock[0] += 1
    file.save(0, 3, [states])
    assert states.written == 2
    assert seconds / pause <= 0.05
