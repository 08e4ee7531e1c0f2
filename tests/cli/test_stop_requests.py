"""A request to stop counts, whatever fails in its course."""

import pytest
from rich.console import Console

from lightning_advinterp.analyses.base.runner import Runner
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.left_out import LeftOut
from lightning_advinterp.core.errors import stops_explained
from lightning_advinterp.data.loaders import leave_signals_alone

KILLED = "DataLoader worker (pid 9) is killed by signal: Terminated. "


def fail_while(stop):
    try:
        raise stop
    finally:
        raise RuntimeError(KILLED)


@pytest.mark.parametrize("stop", [SystemExit(143), KeyboardInterrupt()])
def test_a_worker_that_ends_too_is_no_fault_of_an_analysis(stop, capsys):
    left_out = LeftOut(Evaluation(checkpoint="x", analyses="all", data="d"), Console())
    with pytest.raises(SystemExit) as stopped, stops_explained(), left_out.whole(["curvature"]):
        fail_while(stop)
    assert stopped.value.code == (143 if isinstance(stop, SystemExit) else 130)
    assert "curvature" not in left_out.reasons
    assert KILLED.strip() not in capsys.readouterr().err


def test_a_worker_that_dies_by_itself_stops_the_evaluation():
    left_out = LeftOut(Evaluation(checkpoint="x", analyses="all", data="d"), Console())
    with pytest.raises(RuntimeError, match="killed"), left_out.whole(["curvature"]):
        raise RuntimeError(KILLED)


def test_workers_of_analyses_leave_signals_to_their_process(monkeypatch):
    settings = {}

    class Loader:
        def __init__(self, *args, **kwargs):
            settings.update(kwargs)

        def __iter__(self):
            return iter(())

    monkeypatch.setattr("lightning_advinterp.analyses.base.runner.DataLoader", Loader)
    from helpers import small_network

    from lightning_advinterp.analyses.base.protocol import Sweep
    from lightning_advinterp.analyses.base.watch import UNWATCHED

    runner = Runner(small_network(), [0, 1])
    list(runner._sweep(Sweep(kinds=("real",)), [0, 1], 0, UNWATCHED))
    assert settings["worker_init_fn"] is leave_signals_alone
