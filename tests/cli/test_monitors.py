"""What decides by a value is asked before training whether that value will be there, and follows it alone."""

import re

import pytest
from interruptions import STEPS, Runs, cut, terminate
from lanes import few_fast

EARLY = "pytorch_lightning.callbacks.EarlyStopping"
KEPT = "pytorch_lightning.callbacks.ModelCheckpoint"


def callback(path, **arguments):
    return ("--trainer.callbacks", f"[{{class_path: {path}, init_args: {arguments}}}]".replace("'", ""))


def schedule(monitor, mode="min"):
    return ("--model.schedule", f"{{name: plateau, monitor: {monitor}, mode: {mode}}}")


OWNERS = {
    "checkpoint": lambda key, mode: ("--checkpoint.monitor", key, "--checkpoint.mode", mode),
    "schedule": schedule,
    "early stopping": lambda key, mode: callback(EARLY, monitor=key, mode=mode),
    "model checkpoint": lambda key, mode: callback(KEPT, monitor=key, mode=mode),
}


@pytest.mark.parametrize("owner", few_fast(OWNERS, fast=1))
@pytest.mark.parametrize(
    ("key", "mode", "flags", "status", "message"),
    [
        ("val/pgd_acc", "max", (), 2, r"monitor: val/pgd_acc is not logged in every epoch; choose one of val/acc"),
        ("accuracy", "max", (), 2, "monitor: accuracy is not logged in every epoch; choose one of val/acc"),
        ("guard/pgd_acc", "max", ("--guard", "null"), 2, "monitor: guard/pgd_acc is not logged in every epoch"),
        ("dissection/retention", "max", (), 2, "set dissection, with dissection.every_n_epochs: 1"),
        ("val/loss", "max", (), 2, "val/loss is better the smaller it is, but the mode is max; set .*mode: min"),
        ("val/fgsm_acc", "min", (), 2, "is better the larger it is, but the mode is min; set .*mode: max"),
        ("train/los", "min", (), 1, "monitor: train/los is not logged; choose one of train/acc, .*train/loss"),
    ],
)
def test_a_value_that_will_not_be_there_is_refused_first(
    tmp_path, monkeypatch, capsys, owner, key, mode, flags, status, message
):
    runs = Runs(tmp_path, monkeypatch)
    assert runs.start("run", *OWNERS[owner](key, mode), *flags) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, lines[-1]), lines[-1]
    assert len(runs.seen) <= 1


@pytest.mark.parametrize("owner", [name for name in OWNERS if name != "checkpoint"])
def test_whoever_asks_for_a_value_is_told(tmp_path, monkeypatch, capsys, owner):
    runs = Runs(tmp_path, monkeypatch)
    assert runs.start("run", *OWNERS[owner]("accuracy", "max")) == 2
    assert "monitor: accuracy is not logged in every epoch" in capsys.readouterr().err
    assert not runs.seen


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            (*callback(EARLY, monitor="train/loss", mode="min"), "--trainer.check_val_every_n_epoch", "2"),
            "train/loss is known at the end of the training epoch; .*check_on_train_epoch_end",
        ),
        (
            callback(KEPT, monitor="train/loss", mode="min", every_n_train_steps=2),
            "would be one batch's of one process",
        ),
        ((*schedule("val/loss"), "--trainer.limit_val_batches", "0"), "val/loss is never logged, since nothing is"),
        (
            (*callback(EARLY, monitor="val/acc", mode="max"), "--trainer.check_val_every_n_epoch", "5"),
            "val/acc is never logged, since nothing is validated",
        ),
    ],
)
def test_a_value_that_is_not_there_when_it_is_looked_at_is_refused_first(tmp_path, monkeypatch, capsys, flags, message):
    runs = Runs(tmp_path, monkeypatch)
    assert runs.start("run", *flags) == 2
    assert re.search(message, capsys.readouterr().err.strip().splitlines()[-1])
    assert not runs.seen


def test_callbacks_of_the_users_own_may_log_anything(tmp_path, monkeypatch, capsys):
    flags = callback("monitors_of_users.LogsSomething")
    runs = Runs(tmp_path, monkeypatch, "--trainer.max_epochs", "1")
    runs.start("run", *flags, "--checkpoint.monitor", "something")
    assert "best.ckpt" in runs.files("run")


def test_a_run_without_validation_says_so_and_keeps_its_last_checkpoint(tmp_path, monkeypatch, caplog):
    runs = Runs(tmp_path, monkeypatch, "--trainer.max_epochs", "1")
    runs.start("run", "--trainer.limit_val_batches", "0")
    assert "Nothing is validated in this run: no best.ckpt is kept by val/acc" in caplog.text
    assert runs.files("run") == ["last.ckpt"]


def test_epochs_without_a_validation_are_not_judged(tmp_path, monkeypatch):
    """Lightning goes on showing the value of the epoch before, which would count as no improvement."""
    flags = ("--trainer.check_val_every_n_epoch", "2", "--trainer.max_epochs", "4")
    runs = Runs(tmp_path, monkeypatch, *schedule("val/loss"), *flags, "--model.optimizer.lr", "0")
    runs.start("run")
    content = runs.content("run")
    assert content["lr_schedulers"][0]["last_epoch"] == 2  # judged twice
    assert runs.content("run", "best")["epoch"] == 1


@pytest.mark.parametrize(("step", "action"), [(STEPS + 2, terminate), (STEPS + 2, cut)], ids=["within", "killed"])
@pytest.mark.slow
def test_means_of_an_epoch_survive_a_stop_within_it(tmp_path, monkeypatch, step, action):
    flags = (*schedule("train/loss"), "--checkpoint.monitor", "train/loss", "--checkpoint.mode", "min")
    runs = Runs(tmp_path, monkeypatch, *flags, "--checkpoint.every_n_steps", "1")
    uninterrupted, parts = runs.whole_and_parts(step, action)
    assert uninterrupted["lr_schedulers"] == parts["lr_schedulers"]
    assert runs.content("whole", "best")["epoch"] == runs.content("parts", "best")["epoch"]
