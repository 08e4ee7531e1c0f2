"""Interrupted runs that go on: from within an epoch, from damaged files, and with every signal."""

import logging
import re
import signal

import pytest
import torch
from interruptions import STEPS, PowerCut, Runs, assert_same, cut, terminate
from lanes import few_fast
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

FREE = ("--model.objective", "Free", "--data.init_args.replays", "2", "--ema.decay", "0.5")
WORKERS = ("--data.init_args.num_workers", "2")


@pytest.mark.parametrize(
    ("flags", "step"),
    [
        ((), 1),
        ((), 6),
        (FREE, 4),
        (WORKERS, 5),
        (("--trainer.accumulate_grad_batches", "2"), 2),
        (("--data.init_args.augment_on_device", "true"), 5),
        (("--trainer.val_check_interval", "0.5", "--ema.decay", "0.5"), 2),
        (("--trainer.limit_train_batches", "3"), 4),
    ],
    ids=["first", "second", "replays and average", "workers", "accumulated", "augmented", "validations", "limited"],
)
@pytest.mark.slow
def test_sigterm_within_an_epoch_neither_repeats_nor_skips_a_sample(tmp_path, monkeypatch, caplog, flags, step):
    runs = Runs(tmp_path, monkeypatch, *flags)
    runs.start("whole")
    expected, runs.seen[:] = list(runs.seen), []
    assert runs.at("training", step, terminate).start("parts") == 128 + signal.SIGTERM
    assert "SIGTERM: saved" in caplog.text
    assert 0 < len(runs.seen) < len(expected)
    assert runs.seen[-1][1] < max(number for _, number, _ in expected)  # within the epoch, not at its end
    assert "mid.ckpt" in runs.files("parts")
    runs.start("parts")
    assert runs.seen == expected
    assert_same(runs.content("whole"), runs.content("parts"))
    assert runs.files("parts") == runs.files("whole") == ["best.ckpt", "last.ckpt", "previous.ckpt"]


@pytest.mark.parametrize("action", [terminate, cut], ids=["SIGTERM", "power cut"])
@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.slow
def test_a_validation_that_was_interrupted_is_done_again_and_nothing_else(tmp_path, monkeypatch, action, epoch):
    runs = Runs(tmp_path, monkeypatch, "--ema.decay", "0.5")
    runs.start("whole")
    runs.seen.clear()
    runs.at("validation", epoch, action)
    if action is cut:
        with pytest.raises(PowerCut):
            runs.start("parts")
    else:
        assert runs.start("parts") == 128 + signal.SIGTERM
    assert len(runs.seen) == (epoch + 1) * STEPS
    runs.start("parts")
    assert len(runs.seen) == 2 * STEPS
    for checkpoint in ("last", "best"):
        assert_same(runs.content("whole", checkpoint), runs.content("parts", checkpoint))


@pytest.mark.slow
def test_checkpoints_every_few_steps_bound_what_a_killed_run_loses(tmp_path, monkeypatch):
    runs = Runs(tmp_path, monkeypatch, "--checkpoint.every_n_steps", "2")
    runs.start("whole")
    expected, runs.seen[:] = list(runs.seen), []
    runs.at("training", 7, cut)
    with pytest.raises(PowerCut):
        runs.start("parts")
    assert runs.seen == expected[:8]
    runs.start("parts")
    assert runs.seen == [*expected[:8], *expected[6:]]  # steps 6 and 7 came after the last checkpoint
    assert_same(runs.content("whole"), runs.content("parts"))


@pytest.mark.slow
def test_curves_go_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    runs = Runs(tmp_path, monkeypatch, "--checkpoint.every_n_steps", "2")
    runs.start("whole")
    runs.at("training", 7, cut)
    with pytest.raises(PowerCut):
        runs.start("parts")
    runs.start("parts")
    curves = []
    for name in ("whole", "parts"):
        events = EventAccumulator(str(tmp_path / name / "run")).Reload()
        tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("time/")]
        curves.append({tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags})
    assert len(curves[0]["train/loss"]) == 2 * STEPS
    assert curves[0] == curves[1]


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut short":
        data = data[: len(data) // 2]
    elif how == "empty":
        data = bytearray()
    elif how == "flipped bit":
        data[len(data) // 2] ^= 1
    elif how == "other":
        torch.save([1, 2], path)
        return
    path.write_bytes(data)


@pytest.mark.parametrize("how", few_fast(["cut short", "empty", "flipped bit", "other"], fast=1))
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(tmp_path, monkeypatch, caplog, how):
    runs = Runs(tmp_path, monkeypatch)
    runs.start("run")
    expected = runs.content("run")
    damage(runs.path("run"), how)
    runs.seen.clear()
    with caplog.at_level(logging.WARNING):
        runs.start("run")
    assert "last.ckpt" in caplog.text
    assert "Passed over" in caplog.text
    assert "Falling back to the checkpoint before" in caplog.text
    assert "previous.ckpt (1 epochs; step 4)" in caplog.text
    assert [(epoch, batch) for epoch, batch, _ in runs.seen] == [(1, batch) for batch in range(STEPS)]
    assert_same(expected, runs.content("run"))


def test_where_nothing_can_be_read_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    runs = Runs(tmp_path, monkeypatch)
    runs.start("run")
    for name in ("last", "previous"):
        damage(runs.path("run", name), "cut short")
    before = runs.path("run").read_bytes()
    assert runs.start("run") == 2
    assert "none of" in (error := capsys.readouterr().err)
    assert "can be read; choose another name, or remove that folder" in error
    assert runs.path("run").read_bytes() == before


def test_a_stale_last_checkpoint_loses_to_a_newer_one(tmp_path, monkeypatch, caplog):
    runs = Runs(tmp_path, monkeypatch)
    runs.start("run")
    runs.path("run").rename(runs.path("run", "newer"))
    runs.path("run", "previous").rename(runs.path("run"))
    runs.path("run", "newer").rename(runs.path("run", "previous"))
    runs.seen.clear()
    runs.start("run")
    assert not runs.seen
    assert "previous.ckpt (2 epochs; step 8)" in caplog.text


class Evil:
    def __reduce__(self):
        return (exec, ("open('evil', 'w').close()",))


def test_resuming_runs_no_code_from_a_checkpoint(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    runs = Runs(tmp_path, monkeypatch)
    runs.start("run", "--trainer.max_epochs", "1")
    content = runs.content("run")
    content["callbacks"]["evil"] = Evil()
    torch.save(content, runs.path("run"))
    assert runs.start("run") == 2
    assert re.search(r"holds more than tensors and plain data: exec\. Code .* never .* Passed over\.", caplog.text)
    assert runs.start("other", "--resume", str(runs.path("run"))) == 2
    assert "holds more than tensors and plain data: exec" in capsys.readouterr().err
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--model.network", "cifar_resnet20", "--model.network_options", "null", "--model.objective.layers", "phi"),
            "name was 'helpers.SmallBackbone', is 'cifar_resnet20'",
        ),
        (("--model.network_options", "{dropout: 0.1}"), "dropout was 0.5, is 0.1"),
        (("--model.optimizer.name", "adamw"), "model.optimizer.name was sgd, is adamw"),
        (("--model.optimizer.decay_norm_and_bias", "true"), r"groups had \[3, 7\] parameters, have \[10\]"),
        (("--model.optimizer.momentum", "0.5"), "model.optimizer.momentum was 0.9, is 0.5"),
        (("--model.optimizer.weight_decay", "0.1"), "model.optimizer.weight_decay was 5e-05, is 0.1"),
        (("--ema.decay", "0.5"), r"it has no average \(ema\)"),
        (("--trainer.max_epochs", "1"), "has 2 epochs already, trainer.max_epochs is 1"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(complete, monkeypatch, capsys, flags, message):
    runs = Runs(complete, monkeypatch)
    before = runs.path("run").read_bytes()
    assert runs.start("run", *flags) == 2
    error = capsys.readouterr().err
    assert "last.ckpt" in error
    assert re.search(message, error), error
    assert runs.path("run").read_bytes() == before


def test_an_average_is_not_taken_for_trained_weights(tmp_path, monkeypatch, capsys):
    runs = Runs(tmp_path, monkeypatch)
    runs.start("run", "--ema.decay", "0.5")
    assert runs.start("run") == 2
    assert "its weights were averaged (ema), now they are not" in capsys.readouterr().err


def test_another_batch_size_cannot_go_on_within_an_epoch(tmp_path, monkeypatch, capsys):
    runs = Runs(tmp_path, monkeypatch).at("training", 1, terminate)
    runs.start("run")
    assert runs.start("run", "--data.init_args.batch_size", "4") == 1
    assert "another order of the images: batch_size was 8, is 4" in capsys.readouterr().err
