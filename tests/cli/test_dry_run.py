"""What a dry run says beside the passes: hours, memory and disk."""

import mmap
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import small_network
from unit_evaluations import run, write_inputs

from lightning_advinterp.analyses import AccuracyAnalysis, FragilityAnalysis, FragilityConfig
from lightning_advinterp.analyses.base.costs import SweepCost
from lightning_advinterp.analyses.base.pass_seconds import PassSeconds, time_passes
from lightning_advinterp.analyses.base.time_limits import limited, time_limits
from lightning_advinterp.analyses.base.trial import Estimate, HeldMemory, Stopwatch
from lightning_advinterp.cli.evaluation import trial
from lightning_advinterp.cli.evaluation.trial import describe
from lightning_advinterp.core.memory import forget_peak, memory_now, memory_peak

CPU = torch.device("cpu")


class Clock:
    """Moves on only when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("lightning_advinterp.analyses.base.trial.time.perf_counter", lambda: self.now)

    def after(self, seconds):
        self.now += seconds


def test_a_stopwatch_extends_batches_to_all_images(monkeypatch):
    clock, watch = Clock(monkeypatch), Stopwatch(CPU)
    watch.begins("", SweepCost(1, 12, 12, 0, {"curvature": (24, 0)}), 12, 0)
    for observing, updating in ((5, 3), (4, 2), (4, 2)):  # the first batch takes a second more of each
        clock.after(observing)
        watch.observed(4)
        clock.after(updating)
        watch.updated("curvature")
        clock.after(100)  # a journal
        watch.reached(0)
    assert watch.total == 20
    # 1 s an image to observe; to update half a second, and twice that where it makes twice the passes of an image
    costs = [SweepCost(0, 9, 9, 0, {}), SweepCost(1, 100, 100, 0, {"curvature": (400, 0)})]
    assert watch.seconds_of(costs, {}) == 100 + 1 + 100 * 2 * 0.5 + 1
    assert watch.seconds_of(costs, {"curvature": 30}) == 100 + 1 + 30  # it keeps a time


@pytest.mark.parametrize(("limit", "seconds"), [(None, 200), (500, 200), (50, 50), (0.1, 2)])
def test_an_analysis_that_keeps_a_time_takes_no_more_but_for_the_first_image(limit, seconds):
    assert limited(200, limit, 100) == seconds
    analysis = FragilityAnalysis(FragilityConfig(seconds=limit))
    assert time_limits([analysis, AccuracyAnalysis({})], 3) == ({} if limit is None else {"fragility": 3 * limit})


def test_memory_grows_with_the_batch_and_what_stays_is_stated(monkeypatch):
    """By hand: 100 stay in the trial, 150 in the run; sweep 0 takes 80 for 4 images, sweep 1 shows 2 at a time."""
    peaks = iter([180, 300])
    monkeypatch.setattr("lightning_advinterp.analyses.base.trial.memory_peak", lambda device: next(peaks))
    watch, costs = Stopwatch(CPU), [SweepCost(0, 100, 100, 0, {}), SweepCost(1, 100, 100, 0, {}, batch=2)]
    for cost, batch in zip(costs, (4, 2), strict=True):
        watch.begins("", cost, 12, 0)
        watch.observed(batch)
        watch.ends()
    stays, will_stay = HeldMemory(70, 10, 20), HeldMemory(70, 10, 70)
    assert watch.memory_of(costs, 16, stays, will_stay) == 150 + max(80 * 16 // 4, 200)
    assert watch.memory_of(costs, 8, stays, will_stay) == 150 + max(80 * 8 // 4, 200)


def test_a_short_last_batch_tells_what_memory_does_not_grow_with_the_batch(monkeypatch):
    """By hand: 100 stay, 44 are fixed, an image takes 9."""
    peaks = iter([100 + 44 + 16 * 9, 100 + 44 + 4 * 9])
    monkeypatch.setattr("lightning_advinterp.analyses.base.trial.memory_peak", lambda device: next(peaks))
    watch, cost = Stopwatch(CPU), SweepCost(0, 100, 100, 0, {})
    watch.begins("", cost, 36, 0)
    for batch, done in ((16, 16), (16, 32), (4, 36)):
        watch.observed(batch)
        watch.reached(done)
    watch.ends()
    stays = HeldMemory(70, 10, 20)
    for batch in (4, 16, 64):
        assert watch.memory_of([cost], batch, stays, stays) == 100 + 44 + 9 * batch


@pytest.mark.slow
@pytest.mark.skipif(memory_now(CPU) is None, reason="only Linux says what memory a process holds")
def test_the_memory_of_a_large_batch_is_foretold_by_a_small_one():
    """Within 10 %, in a process of its own: what other tests left decides how the C library reuses memory."""
    script = Path(__file__).parents[1] / "memory_foretold.py"
    finished = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    foretold, measured = map(int, finished.stdout.split())
    assert foretold == pytest.approx(measured, rel=0.1)


def test_passes_cost_what_their_gradients_do():
    passes = PassSeconds(forward=1, backward=3, second=10)
    assert passes.of((2, 5)) == 2 + 5 * 2
    assert passes.of_analysis((1, 3)) == 10  # a map and its derivative: a forward pass and three backward passes
    times = time_passes(small_network(), torch.rand(2, 3, 8, 8))
    assert min(times.forward, times.second) > 0


def test_estimates_add_up():
    first, second = Estimate(7200, 60, 3 * 2**30, 2**20, 2**21), Estimate(3600, 0, 2**30, 0, 2**20)
    assert first + second == Estimate(10800, 60, 3 * 2**30, 2**20, 3 * 2**20)
    assert describe(first + second, 4) == (
        "expected: 0:46:00 (h:mm:ss) on 4 processes, each on a device like this one, 3.0 GiB of memory in each "
        "process; on disk 3.0 MiB of files, 1.0 MiB of journals until the end"
    )
    assert "memory" not in describe(Estimate(), 1)


@pytest.mark.skipif(memory_now(CPU) is None, reason="only Linux says what memory a process holds")
def test_the_peak_is_seen_and_forgotten():
    forget_peak(CPU)
    before = memory_now(CPU)
    with mmap.mmap(-1, 2**26) as block:  # a tensor may lie where another one was freed, which the process still holds
        block.write(bytes([1]) * 2**26)
        assert memory_peak(CPU) - before > 0.9 * 2**26
    forget_peak(CPU)
    assert memory_peak(CPU) <= memory_now(CPU) + 2**26


@pytest.mark.slow
def test_a_dry_run_tries_a_few_images(tmp_path, capsys, monkeypatch):
    """What is too dear to be tried counts by its passes; nothing is written."""
    shown = []
    figures = trial.save_results
    monkeypatch.setattr(
        trial, "save_results", lambda folder, *args, **more: shown.append(folder.name) or figures(folder, *args, **more)
    )
    inputs = write_inputs(tmp_path)
    flags = ("--attack", "fgsm", "--batch_size", "4", "--dry_run", "--trial_seconds", "20")
    flags += ("--fragility.preset", "recommended")
    assert not run(inputs, tmp_path / "out", "accuracy,semantics,fragility", *flags)
    assert not (tmp_path / "out").exists()
    assert shown == ["accuracy", "semantics"]
    printed = " ".join(capsys.readouterr().out.split())
    estimates = re.findall(r"(in all )?expected: (\d+):(\d\d):(\d\d) \(h:mm:ss\), ([\d.]+) GiB of memory", printed)
    assert [bool(line[0]) for line in estimates] == [False, False, True]
    assert printed.count("; fragility by passes alone") == 1
    assert 0.1 < float(estimates[0][4]) < 8
