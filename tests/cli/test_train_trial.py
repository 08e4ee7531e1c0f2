"""``train.py --dry_run``: what a training will take, from a few batches of it."""

import re

import pytest
from short_configs import SMALL_CONSISTENCY, short_config

from lightning_advinterp.analyses.base.trial import Estimate
from lightning_advinterp.cli import train, train_trial
from lightning_advinterp.cli.train_command import TrainCLI

CONFIG = short_config("run", train_size=640, val_size=64, max_epochs=5) + SMALL_CONSISTENCY


@pytest.fixture
def flags(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    return ["--config", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "runs")]


def test_a_dry_run_trains_on_a_few_batches_and_writes_nothing(flags, tmp_path, capsys, monkeypatch):
    """By hand: 640 images, 5 times, at 16 in a second; 64 to validate, 5 times, at 32; watching takes 7 seconds."""
    trained = []

    class Times(train_trial.BatchTimes):
        def on_train_end(self, trainer, pl_module):
            trained.extend(self.training_images)
            self.training = [float(images) / 16 for images in self.training_images]
            self.validation = [float(images) / 32 for images in self.validation_images]
            self.peak = 3 * 2**30

    monkeypatch.setattr(train_trial, "BatchTimes", Times)
    monkeypatch.setattr(train_trial, "_watching", lambda trial, callbacks, epochs: (7.0, 0))
    train([*flags, "--dry_run"])
    printed = " ".join(capsys.readouterr().out.split())
    assert trained == [16] * train_trial.BATCHES
    assert "expected: 0:03:37 (h:mm:ss), 3.0 GiB of memory in each process; on disk" in printed  # 200 + 10 + 7
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("more", "watching"), [([], 5 * 2.0), (["--watch_seconds", "0.5"], 5 * 0.5)])
def test_questions_count_by_their_passes_within_their_time(more, watching, flags, monkeypatch):
    flags = [*flags, *more]
    cli = TrainCLI.parse([*flags, "--accuracy.attacks", "[{type: fgsm}]", "--guard", "null"])
    calls = {}
    monkeypatch.setattr(train_trial, "_seconds", lambda costs, *_: calls.update(costs=costs) or 2.0)
    watched = train_trial._watching
    monkeypatch.setattr(train_trial, "_watching", lambda *args: calls.setdefault("watched", watched(*args)))
    total = train_trial.estimate_training(cli, TrainCLI.parse, [*flags, "--accuracy.attacks", "[{type: fgsm}]"])
    assert isinstance(total, Estimate)
    assert [(cost.forwards, cost.backwards) for cost in calls["costs"]] == [(64 * 3, 64)]
    assert calls["watched"][0] == watching
    assert total.seconds > watching
    assert total.files > 0


def test_a_dry_run_in_a_file_is_refused(flags, tmp_path, capsys):
    (tmp_path / "more.yaml").write_text("dry_run: true")
    with pytest.raises(SystemExit):
        train([*flags, "--config", str(tmp_path / "more.yaml")])
    assert re.search(r"dry_run: give it on the command line", capsys.readouterr().err)
