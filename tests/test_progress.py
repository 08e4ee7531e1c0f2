"""The work of a run, sweep by sweep, and the time that the rest of it takes."""

import pytest
from helpers import Memory, small_batch, small_network

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.analyses.base.progress import Course, SweepBar
from lightning_advinterp.analyses.base.watch import Watch
from lightning_advinterp.attacks.prediction.presets import create_attack


def test_the_time_left_covers_all_announced_work():
    now = [10.0]
    course = Course(100, clock=lambda: now[0])
    assert course.left is None
    course.done, now[0] = 20, 14.0
    assert course.left == 16  # 5 a second, 80 to go
    course.drop(30)
    assert course.left == 10


def test_what_is_left_of_a_run_takes_its_own_pace():
    """By hand: 20 in 4 s, then a run of 30 that took 6 s for 10; 20 of it are left, and 50 at 3 a second."""
    now = [0.0]
    course = Course(100, clock=lambda: now[0])
    course.begins(20)
    course.done, now[0] = 20, 4.0
    course.begins(30)
    assert course.left == 16
    course.advance(10)
    now[0] = 10.0
    assert course.left == pytest.approx(20 * 0.6 + 50 / 3)


class Noted(Watch):
    def __init__(self):
        self.events = []

    def begins(self, title, cost, images, done):
        self.events.append((title, cost.passes, images, done))

    def observed(self, images):
        self.events.append(images)

    def updated(self, analysis):
        self.events.append(analysis)

    def reached(self, done):
        self.events.append(("done", done))

    def ends(self):
        self.events.append("end")


def test_a_watch_hears_every_batch():
    attack = create_attack("fgsm")
    watch = Noted()
    Runner(small_network(), Memory(small_batch(n=5)), attacks={"fgsm": attack}, batch_size=3, watch=watch).run(
        [AccuracyAnalysis({"fgsm": attack})]
    )
    batches = [3, "accuracy", ("done", 3), 2, "accuracy", ("done", 5)]
    assert watch.events == [("sweep 1, images", (5 * (2 + attack.cost[0]), 5), 5, 0), *batches, "end"]


def test_the_bar_counts_the_work_of_every_sweep():
    attack, data = create_attack("fgsm"), Memory(small_batch(n=5))
    runner = Runner(small_network(), data, attacks={"fgsm": attack}, batch_size=3)
    analyses = [AccuracyAnalysis({"fgsm": attack})]
    work = sum(cost.work for cost in runner.costs(analyses))
    course = Course(2 * work)
    bar = SweepBar(course, shown=False)
    Runner(small_network(), data, attacks={"fgsm": attack}, batch_size=3, watch=bar).run(analyses)
    assert course.done == pytest.approx(work)
    bar.leaves_out(runner.costs(analyses)[0])
    assert course.left == pytest.approx(0, abs=1e-6)
