"""Learning rates go on where they were, whatever their course; another course is refused, not bent."""

import pytest
from interruptions import STEPS, Runs, assert_same, cut, terminate

PLATEAU = "{name: plateau, patience: 0, gamma: 0.5, monitor: val/loss}"  # which rises here: half, every epoch


@pytest.mark.parametrize(
    "schedule",
    [
        PLATEAU,
        "{name: onecycle}",
        "{name: cosine, warmup_epochs: 1.5}",
        "{name: multistep, milestones: [1.5, 2.5]}",
        "{name: constant, warmup_epochs: 1}",
    ],
)
@pytest.mark.parametrize(("step", "action"), [(STEPS, cut), (2 * STEPS + 1, terminate)], ids=["epoch", "within"])
@pytest.mark.slow
def test_every_course_goes_on(tmp_path, monkeypatch, schedule, step, action):
    """Lightning steps a plateau schedule after the epoch's checkpoint, which then does not know."""
    flags = ("--model.schedule", schedule, "--trainer.max_epochs", "3", "--model.mean", "imagenet")
    runs = Runs(tmp_path, monkeypatch, *flags)
    uninterrupted, parts = runs.whole_and_parts(step, action)
    assert_same(uninterrupted, parts)
    rates = [
        [group["lr"] for group in content["optimizer_states"][0]["param_groups"]] for content in (uninterrupted, parts)
    ]
    assert rates[0] == rates[1]
    if schedule == PLATEAU:
        assert rates[0] == [0.05 / 4] * 2  # judged once after each epoch; the first sets the mark
        assert uninterrupted["lr_schedulers"][0]["last_epoch"] == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--trainer.max_epochs", "4"), "T_max was 8, is 16"),
        (("--data.init_args.batch_size", "16"), "T_max was 8, is 4"),
        (("--model.optimizer.lr", "0.01"), "base_lrs was [0.05, 0.05], is [0.01, 0.01]"),
        (("--model.schedule.min_lr", "0.01"), "eta_min was 0.0, is 0.01"),
        (("--model.schedule.name", "plateau"), "it was cosine, is plateau"),
        (("--model.schedule.warmup_epochs", "1"), "it was cosine, is one with a warm-up"),
    ],
)
def test_another_course_is_refused(complete, monkeypatch, capsys, flags, message):
    """Taken up by a longer training, a cosine would climb back to the full rate."""
    runs = Runs(complete, monkeypatch)
    before = runs.path("run").read_bytes()
    assert runs.start("run", *flags) == 1
    assert message in (error := capsys.readouterr().err)
    assert "start a run of another name from the checkpoint's weights" in error
    assert runs.path("run").read_bytes() == before


@pytest.mark.slow
def test_a_constant_rate_may_go_on_for_longer(tmp_path, monkeypatch):
    runs = Runs(tmp_path, monkeypatch, "--model.schedule.name", "constant")
    runs.start("run", "--trainer.max_epochs", "1")
    runs.start("run")
    assert len(runs.seen) == 2 * STEPS
