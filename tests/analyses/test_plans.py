"""An analysis is bound to a network once: in a run, in a run whose cost is said before, and in the commands."""

from collections import Counter

import pytest
from helpers import Memory, small_batch, small_network
from short_trainings import train_in
from unit_evaluations import run, tables, write_inputs

from lightning_advinterp.analyses import AccuracyAnalysis, Needs, Plan, PredictionsAnalysis, Runner, Sweep
from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis


class Counting(AccuracyAnalysis):
    """Counts how often it is bound, and the batches that it sees."""

    def __init__(self):
        super().__init__()
        self.networks, self.batches = [], 0

    def bind(self, network):
        self.networks.append(network)
        return super().bind(network)

    def update(self, sweep, observation):
        self.batches += 1
        super().update(sweep, observation)


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def data():
    return Memory(small_batch(n=6))


def test_bound_once_in_a_run(network, data):
    analysis = Counting()
    Runner(network, data, batch_size=3).run([analysis])
    assert analysis.networks == [network]
    assert analysis.batches == 2


def test_bound_once_where_the_cost_is_said_before_the_run(network, data):
    analysis, runner = Counting(), Runner(network, data)
    assert runner.passes([analysis]) == {"images": 6, "forward_passes": 6, "backward_passes": 0}
    runner.run([analysis])
    assert analysis.networks == [network]


def test_analyses_that_are_bound_already_are_not_bound_again(network, data):
    analysis, plans = Counting(), Plans(network)
    assert plans.of(analysis) is plans.of(analysis)
    Runner(network, data, plans=plans).run([analysis])
    assert analysis.networks == [network]
    with pytest.raises(ValueError, match="plans must be of the network that is run, got those of another one"):
        Runner(small_network(), data, plans=plans)


def test_every_analysis_of_an_evaluation_is_bound_once(tmp_path, monkeypatch):
    counts, alive = Counter(), []

    def counted(bind):
        def count(self, network):
            alive.append(self)  # so that no later analysis has its id
            counts[id(self)] += 1
            return bind(self, network)

        return count

    kinds = (AccuracyAnalysis, PredictionsAnalysis, SemanticsAnalysis)
    for kind in kinds:
        monkeypatch.setattr(kind, "bind", counted(kind.bind))
    run(write_inputs(tmp_path), tmp_path / "out", "accuracy,predictions")
    assert {type(analysis) for analysis in alive} == set(kinds[:2])
    assert set(counts.values()) == {1}


class BeforeTheChange:
    """Written for an earlier version."""

    name = "before"

    def needs(self, network):
        return Needs((Sweep(labels=False),))


class Overriding(AccuracyAnalysis):
    """Inherits ``bind``, which does not know of these needs."""

    def needs(self, network):
        return Needs((Sweep(labels=False),))


class Unbound:
    """Has neither method."""

    name = "unbound"


class Planless(AccuracyAnalysis):
    """Returns its sweeps bare."""

    def bind(self, network):
        return (Sweep(),)


@pytest.mark.parametrize(
    ("analysis", "message"),
    [
        (BeforeTheChange(), r"analysis 'before': .*BeforeTheChange defines needs\(network\).*rename needs to bind and"),
        (Overriding(), r"analysis 'accuracy': .*Overriding defines needs\(network\).*rename needs to bind and"),
        (Unbound(), r"analysis 'unbound': .*Unbound has no bind\(network\), which returns its Plan"),
        (Planless(), r"analysis 'accuracy': .*Planless.bind must return a Plan, .*got tuple"),
    ],
)
def test_what_cannot_be_bound_is_refused_before_an_image_is_shown(network, data, analysis, message):
    counting, runner = Counting(), Runner(network, data)
    for method in (runner.passes, runner.run):
        with pytest.raises(ValueError, match=message):
            method([counting, analysis])
    assert counting.batches == 0
    assert issubclass(Needs, Plan), "a file that imports the former name is read"


OLD_FILE = '''
from dataclasses import dataclass
from typing import ClassVar

from lightning_advinterp.analyses import AccuracyAnalysis, Needs, Sweep
from lightning_advinterp.analyses.base.question import Question


class OldAnalysis(AccuracyAnalysis):
    name = "old"

    def needs(self, network):
        return Needs((Sweep(),))


@dataclass(frozen=True)
class Old(Question):
    """Written for an earlier version."""

    name: ClassVar[str] = "old"

    def build(self, scene):
        return [OldAnalysis()]
'''


def test_a_users_file_with_needs_is_told_what_to_rename(tmp_path, monkeypatch, capsys):
    (tmp_path / "before_plans.py").write_text(OLD_FILE)
    monkeypatch.syspath_prepend(tmp_path)
    inputs = write_inputs(tmp_path)
    watching = "name: old\nwatch: {before_plans.Old: {limit: 4}}\n"
    commands = (
        lambda: run(inputs, tmp_path / "out", "before_plans.Old"),
        lambda: train_in(tmp_path, watching, "--trainer.max_epochs", "1"),
    )
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            command()
        assert stop.value.code == 2
        assert "before_plans.OldAnalysis defines needs(network)" in " ".join(capsys.readouterr().err.split())
    assert not tables(tmp_path / "out")
    assert not (tmp_path / "old").exists()
