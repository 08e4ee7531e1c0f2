"""A time budget of what is watched: planned on a clock of its own, and kept by a training."""

import pytest
from short_trainings import train_in

from lightning_advinterp.training.callbacks import BudgetCallback
from lightning_advinterp.training.callbacks import budget as module


class Clock:
    """A question that takes ``fixed`` seconds and ``each`` for an image, on a clock that nothing else moves."""

    class strategy:  # what a trainer calls it
        @staticmethod
        def broadcast(value):
            return value

    def __init__(self, monkeypatch, fixed, each, fewest=1):
        self.now, self.fixed, self.each, self.fewest, self.trials = 0.0, fixed, each, fewest, []
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)

    def run(self, images):
        if images < self.fewest:
            raise ValueError("too few")
        self.trials.append(images)
        self.now += self.fixed + self.each * images

    def epoch(self, budget, number, limit=1000):
        """One epoch of this question alone: images looked at, and seconds with the trials."""
        began = self.now
        budget.opens(number, 1)
        images = budget.images("question", limit, self.run, self)
        started = self.now
        if images:
            self.run(images)
        budget.took("question", images, self.now - started, self)
        return images, self.now - began


def test_an_epoch_keeps_the_budget_with_its_trials_and_later_ones_have_as_many_images(monkeypatch):
    clock, budget = Clock(monkeypatch, fixed=1.0, each=0.05), BudgetCallback(20.0)
    images, seconds = clock.epoch(budget, 0)
    assert clock.trials[:2] == [8, 16]
    assert 100 < images < 400
    assert seconds <= 20
    resumed = BudgetCallback(20.0)
    resumed.load_state_dict(budget.state_dict())
    for run in (budget, resumed):
        trials = len(clock.trials)
        assert clock.epoch(run, 2) == (images, pytest.approx(1.0 + 0.05 * images))
        assert len(clock.trials) == trials + 1, "no trial, one run"


def test_a_budget_that_is_ample_leaves_nothing_out(monkeypatch):
    clock = Clock(monkeypatch, fixed=0.1, each=0.01)
    assert clock.epoch(BudgetCallback(60.0), 0, limit=200)[0] == 200


def test_a_machine_that_gets_slower_shrinks_the_choice_once(monkeypatch):
    clock, budget = Clock(monkeypatch, fixed=0.0, each=0.05), BudgetCallback(10.0)
    first, _ = clock.epoch(budget, 0)
    clock.each = 0.2
    _, seconds = clock.epoch(budget, 1)
    assert seconds > 10
    fewer, seconds = clock.epoch(budget, 2)
    assert fewer < first
    assert seconds <= 10
    assert clock.epoch(budget, 3)[0] == fewer


def test_a_question_whose_fewest_images_take_too_long_is_left_out(monkeypatch):
    clock, budget = Clock(monkeypatch, fixed=0.0, each=1.0, fewest=20), BudgetCallback(10.0)
    images, _ = clock.epoch(budget, 0)
    assert images == 0
    assert clock.trials == [32], "16 are too few for it"


def test_questions_share_the_seconds_and_leave_the_rest_to_the_next():
    budget = BudgetCallback(30.0)
    budget.opens(0, 3)
    shares = [budget.share]
    for seconds in (4.0, 13.0):
        budget.took("name", 10, seconds, Clock)
        shares.append(budget.share)
    assert shares == [10.0, 13.0, 13.0]
    with pytest.raises(ValueError, match="watch_seconds must be above 0"):
        BudgetCallback(0.0)


WATCH = """
name: watched
watch_seconds: 1.0e-3
semantics: {limit: 24, settings: {layers: layer3}, panels: null}
fragility: {limit: 4, settings: {methods: [{type: gradient}], attacks: [{type: topk}], steps: 1}}
"""


def test_what_a_training_leaves_out_is_printed(tmp_path, capsys, caplog):
    network = ("--model.network", "cifar_resnet20", "--model.stem", "null")
    train_in(tmp_path, WATCH, "--trainer.max_epochs", "1", *network)
    lines = capsys.readouterr().out
    assert "semantics, distances: left out of this epoch" in lines
    assert "fragility: left out of this epoch" in lines
    assert "data           images: 32 training, 24 validation" in caplog.text
    assert not (tmp_path / "watched" / "page").exists()
